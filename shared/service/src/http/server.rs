//! The accept loop and the life of a connection.
//!
//! HTTP/1.1 and HTTP/2 are told apart by the first three bytes rather than by hyper-util's automatic connection, because
//! that one waits for them without a deadline, and because the plain HTTP/1 connection gives the socket back, so that a
//! head that came too slowly is answered with 408 instead of silence.

use super::ident::RequestId;
use super::{App, Kit, Problem};
use crate::shutdown::Shutdown;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections past the limit that are still told 503.
const MAX_OVERFLOW: usize = 256;
/// Between attempts to accept when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Size of a request head, in bytes.
const MAX_HEAD: u32 = 32 << 10;
/// Read buffer of a connection, in bytes. With `max_connections` it bounds their memory.
const MAX_BUFFER: usize = 128 << 10;
const MAX_STREAMS: u32 = 128;
const H2_PING: Duration = Duration::from_secs(20);
/// Beginning of the HTTP/2 preface; no HTTP/1 method begins with it.
const H2_BEGINS: &[u8] = b"PRI";

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections cut because they did not end inside the drain time, or because a second signal came.
    pub cut: usize,
}

/// Bytes of a client, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

struct Shared<A> {
    app: Arc<A>,
    kit: Arc<Kit>,
    /// Open requests are finished, and nothing else begins.
    stop: CancellationToken,
    /// Comes after `stop`: what is not finished ends.
    cut: CancellationToken,
}

/// Serves `app` until `shutdown` begins, then finishes open requests inside the drain time.
pub async fn serve<A: App>(
    listener: TcpListener,
    app: Arc<A>,
    kit: Arc<Kit>,
    shutdown: &Shutdown,
) -> Drained {
    let connections = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(kit.limits.max_connections));
    let overflow = Arc::new(Semaphore::new(MAX_OVERFLOW));
    let (stop, cut) = (shutdown.token(), CancellationToken::new());
    let shared = Arc::new(Shared { app, kit: Arc::clone(&kit), stop, cut });
    while let Some(accepted) = shared.stop.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        let slot = Arc::clone(&slots).try_acquire_owned();
        let overloaded = slot.is_err();
        let Ok(slot) = slot.or_else(|_| Arc::clone(&overflow).try_acquire_owned()) else {
            kit.stats.connections_refused.inc();
            continue;
        };
        if overloaded {
            kit.stats.connections_refused.inc();
        }
        connections.spawn(connection(Arc::clone(&shared), stream, peer, overloaded, slot));
    }
    drop(listener);
    connections.close();
    drain(&connections, kit.limits.drain_time, shutdown, &shared.cut).await
}

async fn drain(
    connections: &TaskTracker,
    time: Duration,
    shutdown: &Shutdown,
    cut: &CancellationToken,
) -> Drained {
    tokio::select! {
        () = connections.wait() => return Drained { cut: 0 },
        () = tokio::time::sleep(time) => {}
        () = shutdown.aborted() => {}
    }
    let left = connections.len();
    cut.cancel();
    connections.wait().await;
    Drained { cut: left }
}

/// Errors of one connection need no pause; being out of descriptors or memory does.
async fn pause_after(error: &std::io::Error) {
    let of_the_peer = matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    );
    if !of_the_peer {
        tracing::warn!(%error, "cannot accept connections");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

async fn connection<A: App>(
    shared: Arc<Shared<A>>,
    stream: TcpStream,
    peer: SocketAddr,
    overloaded: bool,
    _slot: OwnedSemaphorePermit,
) {
    let kit = Arc::clone(&shared.kit);
    kit.stats.connections.inc();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY cannot be set");
    }
    let cut = shared.cut.clone();
    // What serves is boxed: a connection that says nothing takes little memory.
    #[cfg(feature = "tls")]
    if let Some(tls) = &kit.tls {
        cut.run_until_cancelled(Box::pin(encrypted(shared, tls, stream, peer, overloaded))).await;
        kit.stats.connections.dec();
        return;
    }
    let mut first = [0; H2_BEGINS.len()];
    // `select!` and not `run_until_cancelled`, which would keep room for what it is given twice.
    let spoke = tokio::select! {
        biased;
        () = shared.stop.cancelled() => false,
        peeked = tokio::time::timeout(kit.limits.header_time, stream.peek(&mut first)) => {
            matches!(peeked, Ok(Ok(1..)))
        }
    };
    if spoke {
        match first == H2_BEGINS {
            true => cut.run_until_cancelled(Box::pin(serve_h2(shared, stream, peer, overloaded))).await,
            false => cut.run_until_cancelled(Box::pin(serve_h1(shared, stream, peer, overloaded))).await,
        };
    }
    kit.stats.connections.dec();
}

/// The same behind a handshake, in which the client has said which HTTP it speaks.
#[cfg(feature = "tls")]
async fn encrypted<A: App>(
    shared: Arc<Shared<A>>,
    tls: &super::Tls,
    stream: TcpStream,
    peer: SocketAddr,
    overloaded: bool,
) {
    let shaking = tokio::time::timeout(shared.kit.limits.header_time, tls.acceptor.accept(stream));
    match shared.stop.run_until_cancelled(shaking).await {
        Some(Ok(Ok(stream))) => match stream.get_ref().1.alpn_protocol() {
            Some(super::tls::H2) => Box::pin(serve_h2(shared, stream, peer, overloaded)).await,
            _ => Box::pin(serve_h1(shared, stream, peer, overloaded)).await,
        },
        Some(Ok(Err(error))) => tracing::debug!(%error, %peer, "TLS handshake failed"),
        Some(Err(_)) | None => {}
    }
}

async fn serve_h1<A: App>(shared: Arc<Shared<A>>, stream: impl Stream, peer: SocketAddr, overloaded: bool) {
    let (header_time, stop) = (shared.kit.limits.header_time, shared.stop.clone());
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let shared = Arc::clone(&shared);
        // hyper keeps room for it as long as the connection lasts.
        Box::pin(async move {
            Ok::<_, Infallible>(shared.kit.answer(&*shared.app, peer, overloaded, request).await)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_time)
        .max_header_size(MAX_HEAD as usize)
        .max_buf_size(MAX_BUFFER)
        .keep_alive(!overloaded)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service);
    let ended = drive(Pin::new(&mut connection), &stop, http1::Connection::graceful_shutdown).await;
    let Err(error) = ended else { return };
    tracing::debug!(%error, %peer, "connection ended with an error");
    let parts = connection.into_parts();
    // An idle connection that only ran out of time has sent nothing, and is closed without a word.
    if error.is_timeout() && !parts.read_buf.is_empty() {
        let mut stream = parts.io.into_inner();
        let answer = async {
            stream.write_all(&head_timeout()).await?;
            stream.shutdown().await
        };
        if let Ok(Err(error)) = tokio::time::timeout(header_time, answer).await {
            tracing::debug!(%error, %peer, "408 could not be sent");
        }
    }
}

/// Written by hand, because hyper has given the connection up. The client's request id is not known yet.
fn head_timeout() -> Vec<u8> {
    let id = RequestId::of(&HeaderMap::new());
    let problem =
        Problem::new(StatusCode::REQUEST_TIMEOUT, "head_timeout", "the request head came too slowly");
    let body = problem.render(&id, false, &mut HeaderMap::new());
    let head = format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         x-request-id: {}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n",
        body.len(),
        id.as_str()
    );
    [head.into_bytes(), body].concat()
}

async fn serve_h2<A: App>(shared: Arc<Shared<A>>, stream: impl Stream, peer: SocketAddr, overloaded: bool) {
    let (header_time, stop) = (shared.kit.limits.header_time, shared.stop.clone());
    let requests = Arc::new(Requests::default());
    let counted = Arc::clone(&requests);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (shared, open) = (Arc::clone(&shared), Open::new(&counted));
        async move {
            let _open = open;
            Ok::<_, Infallible>(shared.kit.answer(&*shared.app, peer, overloaded, request).await)
        }
    });
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD)
            .keep_alive_interval(H2_PING)
            .keep_alive_timeout(H2_PING)
            .adaptive_window(true)
            .serve_connection(TokioIo::new(stream), service)
    );
    // HTTP/2 has no deadline of its own: not for its handshake, and none for a client that answers pings and asks nothing.
    let mut known = 0;
    let ended = loop {
        let running = drive(connection.as_mut(), &stop, http2::Connection::graceful_shutdown);
        if let Ok(ended) = tokio::time::timeout(header_time, running).await {
            break ended;
        }
        let begun = requests.begun.load(Ordering::Relaxed);
        if begun == 0 {
            return;
        }
        if begun == known && requests.open.load(Ordering::Relaxed) == 0 {
            // Answers that are still being sent go on.
            connection.as_mut().graceful_shutdown();
            break connection.await;
        }
        known = begun;
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "connection ended with an error");
    }
}

/// Of one connection.
#[derive(Default)]
struct Requests {
    begun: AtomicUsize,
    open: AtomicUsize,
}

/// A request that is not answered yet.
struct Open(Arc<Requests>);

impl Open {
    fn new(requests: &Arc<Requests>) -> Self {
        requests.begun.fetch_add(1, Ordering::Relaxed);
        requests.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(requests))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs a connection to its end; when `stop` comes it is asked to finish what it has.
async fn drive<C: Future>(
    mut connection: Pin<&mut C>,
    stop: &CancellationToken,
    finish: fn(Pin<&mut C>),
) -> C::Output {
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => finish(connection.as_mut()),
    }
    connection.await
}
