//! One target and the hands that trouble it. Whatever is done to it is over, and made good, when [`Actor::suffer`]
//! returns.

use super::schedule::{Fault, Kind};
use super::trouble::Trouble;
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use testkit::{Direction, FaultProxy, Process, Redis};
use tokio::time::sleep;

/// An orderly end may take the drain deadline the programs are given, and some.
const END: Duration = Duration::from_secs(20);
const READY: Duration = Duration::from_secs(60);
const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

pub enum Actor {
    Program { process: Process, addr: SocketAddr },
    Postgres(Trouble),
    Redis(Arc<Redis>),
    Link(FaultProxy),
}

impl Actor {
    /// Whether it came to pass: a link without a connection cannot break, and a cut after so many bytes needs them.
    pub async fn suffer(&mut self, fault: &Fault) -> Result<bool> {
        let Fault { target, kind, lasts, .. } = *fault;
        let what = || format!("{target} {}", kind.name());
        let mut came = self.is_there().with_context(what)?;
        came &= self.begin(kind).await.with_context(what)?;
        sleep(lasts).await;
        if let (Actor::Link(proxy), Kind::CutAfter(..)) = (&*self, kind) {
            came = !proxy.cut_is_due();
        }
        self.end(kind).await.with_context(what)?;
        Ok(came)
    }

    /// An error: a program has ended by itself.
    fn is_there(&mut self) -> Result<bool> {
        match self {
            Actor::Program { process, .. } => match process.try_wait()? {
                Some(status) => {
                    bail!("it had ended by itself, {status}:\n{}{}", process.stdout(), process.stderr())
                }
                None => Ok(true),
            },
            Actor::Postgres(_) | Actor::Redis(_) => Ok(true),
            Actor::Link(proxy) => Ok(proxy.open() > 0),
        }
    }

    /// Whether there was anything to do it to.
    async fn begin(&mut self, kind: Kind) -> Result<bool> {
        match (self, kind) {
            (Actor::Program { process, .. }, Kind::Kill) => process.kill()?,
            (Actor::Program { process, .. }, Kind::Freeze) => process.pause()?,
            (Actor::Program { process, .. }, Kind::Restart) => process.terminate(END).await.map(drop)?,
            (Actor::Postgres(trouble), kind) => return trouble.begin(kind).await,
            (Actor::Redis(server), Kind::Kill) => server.kill().await?,
            (Actor::Redis(server), Kind::Freeze) => server.pause()?,
            (Actor::Redis(server), Kind::Restart) => server.stop().await?,
            (Actor::Redis(server), Kind::Forget) => {
                server.command(&["DEL", "ab:{catalogue}"]).await?;
            }
            (Actor::Redis(server), Kind::Squeeze) => squeeze(server, "1mb").await?,
            (Actor::Redis(server), Kind::Kick) => {
                for kind in ["normal", "pubsub"] {
                    server.command(&["CLIENT", "KILL", "TYPE", kind]).await?;
                }
            }
            (Actor::Link(proxy), Kind::Cut) => proxy.cut(),
            (Actor::Link(proxy), Kind::CutAfter(direction, bytes)) => proxy.cut_after(direction, bytes),
            (Actor::Link(proxy), Kind::HalfClose(direction)) => proxy.half_close(direction),
            (Actor::Link(proxy), Kind::Delay(by)) => BOTH.iter().for_each(|d| proxy.delay(*d, by)),
            (Actor::Link(proxy), Kind::BlackHole) => BOTH.iter().for_each(|d| proxy.stall(*d)),
            (Actor::Link(proxy), Kind::Mute) => proxy.swallow(Direction::ToClient),
            (Actor::Link(proxy), Kind::Refuse) => {
                proxy.refuse();
                proxy.cut();
            }
            (_, kind) => bail!("{kind:?} is for targets of another class"),
        }
        Ok(true)
    }

    async fn end(&mut self, kind: Kind) -> Result<()> {
        match (self, kind) {
            (Actor::Program { process, .. }, Kind::Freeze) => process.resume(),
            (Actor::Program { process, .. }, _) => process.respawn(),
            (Actor::Postgres(trouble), kind) => trouble.end(kind).await,
            (Actor::Redis(server), Kind::Freeze) => server.resume(),
            (Actor::Redis(server), Kind::Squeeze) => squeeze(server, "2gb").await,
            (Actor::Redis(_), Kind::Forget | Kind::Kick) => Ok(()),
            (Actor::Redis(server), _) => server.restart().await,
            (Actor::Link(proxy), kind) => {
                if kind == Kind::Mute {
                    proxy.cut();
                }
                proxy.heal();
                Ok(())
            }
        }
    }

    /// Waits until a program is ready for work; servers and links are.
    pub async fn recovered(&mut self) -> Result<()> {
        match self {
            Actor::Program { process, addr } => process.wait_ready(*addr, "/readyz", READY).await,
            Actor::Postgres(_) | Actor::Redis(_) | Actor::Link(_) => Ok(()),
        }
    }

    /// The orderly end of a program.
    pub async fn retire(&mut self) -> Result<()> {
        if let Actor::Program { process, .. } = self {
            let status = process.terminate(END).await?;
            if !status.success() {
                bail!("{status}:\n{}", process.stderr());
            }
        }
        Ok(())
    }

    /// Lines in which a program said that it panicked.
    pub fn panics(&self) -> Vec<String> {
        let Actor::Program { process, .. } = self else { return Vec::new() };
        let said = [process.stdout(), process.stderr()];
        let lines = said.iter().flat_map(|text| text.lines());
        lines.filter(|line| line.contains("panicked at")).map(str::to_owned).collect()
    }
}

async fn squeeze(server: &Redis, memory: &str) -> Result<()> {
    server.command(&["CONFIG", "SET", "maxmemory", memory]).await.map(drop)
}
