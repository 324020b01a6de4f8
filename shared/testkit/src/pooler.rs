//! What PgBouncer is in its transaction mode, for users without password: a connection to the server belongs to a client
//! from the first message of a transaction to its end.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const SSL_REQUEST: u32 = 80_877_103;
const CANCEL_REQUEST: u32 = 80_877_102;

/// Serves until dropped.
pub struct TransactionPooler {
    addr: SocketAddr,
    accepting: JoinHandle<()>,
}

/// Connections to the server that nobody uses, by what they were started with; the last one in is the first one out.
type Idle = Mutex<HashMap<Vec<u8>, Vec<TcpStream>>>;

impl TransactionPooler {
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (addr, idle) = (listener.local_addr()?, Arc::new(Idle::default()));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let idle = Arc::clone(&idle);
                // A client that goes away ends its own connection, and nobody else's.
                tokio::spawn(async move { serve(client, server, &idle).await });
            }
        });
        Ok(Self { addr, accepting })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for TransactionPooler {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut client: TcpStream, server: SocketAddr, idle: &Idle) -> Result<()> {
    let startup = loop {
        let packet = body(&mut client, Vec::new()).await?;
        match u32::from_be_bytes(packet.get(4..8).context("a packet has a code")?.try_into()?) {
            SSL_REQUEST => client.write_all(b"N").await?,
            CANCEL_REQUEST => bail!("not done by this pooler"),
            _ => break packet,
        }
    };
    let (first, greeting) = connect(server, &startup).await?;
    give_back(idle, &startup, first);
    client.write_all(&greeting).await?;
    let mut held = None;
    loop {
        let message = message(&mut client).await?;
        if message[0] == b'X' {
            return Ok(());
        }
        let mut link = match held.take().or_else(|| take(idle, &startup)) {
            Some(link) => link,
            None => connect(server, &startup).await?.0,
        };
        link.write_all(&message).await?;
        // All other messages wait for a Sync.
        let in_transaction = match message[0] {
            b'Q' | b'S' => relay(&mut link, &mut client).await?,
            _ => true,
        };
        match in_transaction {
            true => held = Some(link),
            false => give_back(idle, &startup, link),
        }
    }
}

fn take(idle: &Idle, startup: &[u8]) -> Option<TcpStream> {
    idle.lock().expect("nobody panicked").get_mut(startup)?.pop()
}

fn give_back(idle: &Idle, startup: &[u8], link: TcpStream) {
    idle.lock().expect("nobody panicked").entry(startup.to_vec()).or_default().push(link);
}

/// With everything the server said until it was ready.
async fn connect(server: SocketAddr, startup: &[u8]) -> Result<(TcpStream, Vec<u8>)> {
    let mut link = TcpStream::connect(server).await?;
    link.write_all(startup).await?;
    let mut greeting = Vec::new();
    loop {
        let message = message(&mut link).await?;
        greeting.extend_from_slice(&message);
        if message[0] == b'Z' {
            return Ok((link, greeting));
        }
    }
}

/// The answer, to its end; whether the transaction goes on.
async fn relay(link: &mut TcpStream, client: &mut TcpStream) -> Result<bool> {
    loop {
        let message = message(link).await?;
        client.write_all(&message).await?;
        if message[0] == b'Z' {
            return Ok(message.last() != Some(&b'I'));
        }
    }
}

async fn message(from: &mut TcpStream) -> Result<Vec<u8>> {
    let kind = from.read_u8().await?;
    body(from, vec![kind]).await
}

/// A length, which counts itself, and what follows it.
async fn body(from: &mut TcpStream, mut read: Vec<u8>) -> Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let start = read.len() + 4;
    read.extend(length.to_be_bytes());
    read.resize(start + (length as usize).checked_sub(4).context("a length counts itself")?, 0);
    from.read_exact(&mut read[start..]).await?;
    Ok(read)
}
