//! A TCP proxy that misbehaves on demand.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ports;

/// Which way bytes flow through a [`FaultProxy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client: requests.
    ToServer,
    /// From the server: replies.
    ToClient,
}

#[derive(Clone, Copy, Default)]
struct Faults {
    /// Connections of an older generation are cut.
    generation: u64,
    refuse: bool,
    /// Indexed by direction.
    stall: [bool; 2],
    swallow: [bool; 2],
    delay: [Duration; 2],
    /// Connections of an older one are half-closed.
    half_closed: [u64; 2],
}

struct Shared {
    upstream: Mutex<SocketAddr>,
    faults: watch::Sender<Faults>,
    /// Bytes each direction still lets through before everything is cut.
    budgets: Mutex<[Option<u64>; 2]>,
    accepted: AtomicU64,
    open: AtomicU64,
    passed: [AtomicU64; 2],
}

/// A proxy on 127.0.0.1 in front of one server. A client that goes through it sees, when told:
/// connections cut ([`Self::cut`]) or after so many bytes ([`Self::cut_after`]) or in one direction only
/// ([`Self::half_close`]), new ones refused ([`Self::refuse`]), bytes slowed down ([`Self::delay`]), held back
/// ([`Self::stall`]) or thrown away ([`Self::swallow`]).
/// `swallow(ToClient)` then `cut()` is the classic unknown outcome: the server did it, nobody was told.
/// [`Self::heal`] ends all faults. Runs on the runtime it was started on.
pub struct FaultProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// In front of the server at `upstream`, passing everything.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, ports::free_port()?).into(), upstream).await
    }

    /// The same on an address of the caller's choice.
    pub async fn start_at(addr: SocketAddr, upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            faults: watch::Sender::new(Faults::default()),
            budgets: Mutex::default(),
            accepted: AtomicU64::new(0),
            open: AtomicU64::new(0),
            passed: Default::default(),
        });
        let task = tokio::spawn(accept(addr, listener, Arc::clone(&shared)));
        Ok(Self { addr, shared, task })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Another server has taken over: connections there are are closed, new ones lead to it.
    pub fn redirect(&self, upstream: SocketAddr) {
        *self.shared.upstream.lock().unwrap() = upstream;
        self.cut();
    }

    /// Closes all connections there are.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Cuts all connections once `bytes` more have passed in this direction; the last ones do pass. Once only.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.shared.budgets.lock().unwrap()[direction as usize] = Some(bytes);
    }

    /// Whether a [`Self::cut_after`] is still to come.
    pub fn cut_is_due(&self) -> bool {
        self.shared.budgets.lock().unwrap().iter().any(Option::is_some)
    }

    /// On the connections there are, nothing more comes in this direction: its receiver sees the end of the stream,
    /// what is sent is thrown away. The other direction goes on until one of the two sides closes.
    pub fn half_close(&self, direction: Direction) {
        self.shared.faults.send_modify(|faults| faults.half_closed[direction as usize] += 1);
    }

    /// Bytes of this direction wait so long, each read of at most 64 KiB for itself.
    pub fn delay(&self, direction: Direction, by: Duration) {
        self.shared.faults.send_modify(|faults| faults.delay[direction as usize] = by);
    }

    /// New connections are refused by the kernel; those there are go on.
    pub fn refuse(&self) {
        self.shared.faults.send_modify(|faults| faults.refuse = true);
    }

    /// Bytes of this direction wait until [`Self::heal`].
    pub fn stall(&self, direction: Direction) {
        self.shared.faults.send_modify(|faults| faults.stall[direction as usize] = true);
    }

    /// Bytes of this direction are read and thrown away. The connections concerned are of no use afterwards:
    /// [`Self::cut`] them.
    pub fn swallow(&self, direction: Direction) {
        self.shared.faults.send_modify(|faults| faults.swallow[direction as usize] = true);
    }

    /// Ends all faults: what was stalled flows, connections are accepted. Half-closed ones stay what they are.
    pub fn heal(&self) {
        *self.shared.budgets.lock().unwrap() = [None; 2];
        self.shared.faults.send_modify(|faults| {
            let Faults { generation, half_closed, .. } = *faults;
            *faults = Faults { generation, half_closed, ..Faults::default() };
        });
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections there are.
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Bytes that have passed in a direction, swallowed ones not counted.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.shared.passed[direction as usize].load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.cut();
    }
}

async fn accept(addr: SocketAddr, listener: TcpListener, shared: Arc<Shared>) {
    let mut faults = shared.faults.subscribe();
    let mut listener = Some(listener);
    loop {
        if faults.borrow_and_update().refuse {
            drop(listener.take());
            if faults.changed().await.is_err() {
                return;
            }
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            // The port is reserved for this process, so nobody has taken it meanwhile.
            None => TcpListener::bind(addr).await.expect("bind the proxy's port again"),
        };
        tokio::select! {
            // First: who connects at the same moment is refused too.
            biased;
            _ = faults.changed() => {}
            accepted = open.accept() => if let Ok((client, _)) = accepted {
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(client, *faults.borrow(), Arc::clone(&shared)));
            },
        }
        listener = Some(open);
    }
}

/// Both sockets are closed when this ends, for one direction never outlives the other. `born`: the faults when the
/// connection was accepted.
async fn serve(client: TcpStream, born: Faults, shared: Arc<Shared>) {
    let mut faults = shared.faults.subscribe();
    let upstream = *shared.upstream.lock().unwrap();
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    shared.open.fetch_add(1, Ordering::Relaxed);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = faults.wait_for(|faults| faults.generation != born.generation) => {}
        () = pump(Direction::ToServer, from_client, to_server, &shared, born) => {}
        () = pump(Direction::ToClient, from_server, to_client, &shared, born) => {}
    }
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

async fn pump(
    direction: Direction,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    born: Faults,
) {
    let mut faults = shared.faults.subscribe();
    let mut closed = shared.faults.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let half_closed = closed.wait_for(|faults| {
            faults.half_closed[direction as usize] != born.half_closed[direction as usize]
        });
        let read = tokio::select! {
            biased;
            _ = half_closed => None,
            read = from.read(&mut buffer) => Some(read),
        };
        let Some(read) = read else {
            let _ = to.shutdown().await;
            while let Ok(1..) = from.read(&mut buffer).await {}
            return;
        };
        let Ok(read @ 1..) = read else { return };
        let delay = faults.borrow().delay[direction as usize];
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let flows = |now: &Faults| !now.stall[direction as usize] || now.generation != born.generation;
        let now = match faults.wait_for(flows).await {
            // Cut, and healed before this was seen: what a fault held back until then does not pass after all.
            Ok(now) if now.generation != born.generation => return,
            Ok(now) => *now,
            Err(_) => return,
        };
        if now.swallow[direction as usize] {
            continue;
        }
        let (pass, cut) = shared.spend(direction, read);
        if to.write_all(&buffer[..pass]).await.is_err() {
            return;
        }
        shared.passed[direction as usize].fetch_add(pass as u64, Ordering::Relaxed);
        if cut {
            shared.cut();
        }
    }
}

impl Shared {
    fn cut(&self) {
        self.faults.send_modify(|faults| faults.generation += 1);
    }

    /// How many of `read` bytes may pass, and whether the budget ends with them.
    fn spend(&self, direction: Direction, read: usize) -> (usize, bool) {
        let mut budgets = self.budgets.lock().unwrap();
        let budget = &mut budgets[direction as usize];
        let Some(left) = *budget else { return (read, false) };
        if (read as u64) < left {
            *budget = Some(left - read as u64);
            return (read, false);
        }
        *budget = None;
        (usize::try_from(left).unwrap_or(read), true)
    }
}
