//! A bare hyper server that reads bodies and answers 202: what the gateway is compared with.

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

/// Until killed. Every body is said to hold `events` events.
pub async fn serve(port: u16, events: u32) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let answer = service_fn(|request| accept(request, events));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            // The client's end is the connection's end.
            drop(connection.await);
        });
    }
}

async fn accept(request: Request<Incoming>, events: u32) -> Result<Response<Full<Bytes>>, Infallible> {
    #[allow(clippy::disallowed_methods)] // limited
    let read = Limited::new(request.into_body(), 16 << 20).collect().await;
    let mut response = Response::new(Full::new(Bytes::from(format!("{{\"received\":{events}}}"))));
    *response.status_mut() = if read.is_ok() { StatusCode::ACCEPTED } else { StatusCode::BAD_REQUEST };
    Ok(response)
}
