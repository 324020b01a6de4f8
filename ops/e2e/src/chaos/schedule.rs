//! What goes wrong when: a pure function of the seed.
//!
//! Faults come in waves with calms between them. Within a wave several targets may be in trouble at once, each in one
//! kind at a time; every fault is over when its wave is, but for the long freeze of a worker, whose partitions the
//! other one then takes. So nothing has to give up, and whatever does not recover in a calm or after the last one is
//! a defect.

use abctl::simulate::rng::Rng;
use std::fmt;
use std::time::Duration;
use testkit::Direction;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    Gateway(u8),
    Worker(u8),
    Analyzer,
}

/// Two gateways and two workers: there is always another one to turn to.
pub const PROGRAMS: [Program; 5] =
    [Program::Gateway(0), Program::Gateway(1), Program::Worker(0), Program::Worker(1), Program::Analyzer];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Server {
    Postgres,
    Redis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Program(Program),
    Server(Server),
    /// All connections of a program to a server.
    Link(Program, Server),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL, and a new start when the fault is over.
    Kill,
    /// SIGSTOP, and SIGCONT when it is over.
    Freeze,
    /// An orderly end, and a new start.
    Restart,
    /// Connections are closed.
    Cut,
    /// The same in the middle of something: after so many bytes.
    CutAfter(Direction, u64),
    /// The receiver of one direction sees an end, the other direction goes on.
    HalfClose(Direction),
    /// Everything takes longer.
    Delay(Duration),
    /// Nothing comes through, nothing is closed; afterwards all of it comes.
    BlackHole,
    /// Requests arrive, their answers do not, then the connections are closed: done or not, nobody is told.
    Mute,
    /// Connections are closed and new ones refused.
    Refuse,
    /// PostgreSQL takes no writes.
    ReadOnly,
    /// Its connections are ended, and all there may be are taken by somebody else.
    Crowd,
    /// Somebody holds a lock on a table that every transaction writes to.
    Lock,
    /// What it is doing for us is cancelled.
    Cancel,
    /// Redis's catalogue is deleted.
    Forget,
    /// It has no memory left.
    Squeeze,
    /// It closes all connections.
    Kick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// From the beginning of the run.
    pub at: Duration,
    pub lasts: Duration,
    pub target: Target,
    pub kind: Kind,
}

pub const WAVE: Duration = Duration::from_secs(8);
pub const CALM: Duration = Duration::from_secs(4);
/// Longer than the 15 s after which PostgreSQL ends an idle session of ours, and with it the locks of its owner.
pub const LONG_FREEZE: std::ops::Range<u64> = 15_500..18_000;

/// Most time between the beginnings of two faults of a wave, in milliseconds: in some waves nothing works for long, in
/// others most faults meet a pipeline at work.
const GAPS_MS: [u64; 3] = [300, 900, 1_800];
/// Most time a fault takes, in milliseconds; what is left of its wave if that is less.
const LENGTH_MS: u64 = 3_000;
/// What is started again is left alone for a while, or it would never live.
const REST: Duration = Duration::from_millis(500);
/// The same for servers, which read and sync their logs first: seconds on a slow disk.
const SERVER_REST: Duration = Duration::from_secs(6);
/// So a server is started again sooner than anything else.
const SERVER_LENGTH: Duration = Duration::from_millis(1_200);
/// How often the targets of a class are chosen.
const WEIGHTS: [f64; 3] = [0.25, 0.1, 0.65];

impl Fault {
    pub fn ends(&self) -> Duration {
        self.at + self.lasts
    }

    fn rest(&self) -> Duration {
        match self.target {
            Target::Program(_) => REST,
            Target::Server(_) => SERVER_REST,
            Target::Link(..) => Duration::ZERO,
        }
    }
}

/// Every target there is, by class: programs, servers, links.
pub fn targets() -> [Vec<Target>; 3] {
    let links = PROGRAMS.iter().flat_map(|program| {
        let redis = Target::Link(*program, Server::Redis);
        // A gateway knows no database.
        let postgres = match program {
            Program::Gateway(_) => None,
            Program::Worker(_) | Program::Analyzer => Some(Target::Link(*program, Server::Postgres)),
        };
        [Some(redis), postgres].into_iter().flatten()
    });
    [
        PROGRAMS.map(Target::Program).to_vec(),
        vec![Target::Server(Server::Postgres), Target::Server(Server::Redis)],
        links.collect(),
    ]
}

/// The faults of a run of `length`, in order.
pub fn schedule(seed: u64, length: Duration) -> Vec<Fault> {
    let mut rng = Rng::new(seed, 1000);
    let mut faults: Vec<Fault> = Vec::new();
    let mut begins = Duration::ZERO;
    while begins + WAVE + CALM <= length {
        let end = begins + WAVE;
        let mut at = begins;
        if rng.chance(0.4) {
            freeze_long(&mut rng, &mut faults, at, length);
        }
        let gap = GAPS_MS[rng.weighted(&[1.0; 3])];
        loop {
            at += Duration::from_millis(50 + rng.below(gap - 50));
            if at + Duration::from_millis(100) > end {
                break;
            }
            let free = free_target(&mut rng, &faults, at);
            faults.extend(free.map(|target| fault(&mut rng, target, at, end)));
        }
        begins += WAVE + CALM;
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn freeze_long(rng: &mut Rng, faults: &mut Vec<Fault>, at: Duration, length: Duration) {
    let lasts = Duration::from_millis(LONG_FREEZE.start + rng.below(LONG_FREEZE.end - LONG_FREEZE.start));
    let target = Target::Program(Program::Worker(if rng.chance(0.5) { 0 } else { 1 }));
    let other_frozen = faults.iter().any(|fault| fault.lasts > WAVE && fault.ends() > at);
    if at + lasts <= length.saturating_sub(CALM) && !other_frozen && is_free(faults, target, at) {
        faults.push(Fault { at, lasts, target, kind: Kind::Freeze });
    }
}

fn is_free(faults: &[Fault], target: Target, at: Duration) -> bool {
    !faults.iter().any(|fault| fault.target == target && fault.ends() + fault.rest() > at)
}

fn free_target(rng: &mut Rng, faults: &[Fault], at: Duration) -> Option<Target> {
    let class = rng.weighted(&WEIGHTS);
    let mut free = targets().into_iter().nth(class)?;
    free.retain(|target| is_free(faults, *target, at));
    let chosen = usize::try_from(rng.below(free.len() as u64)).unwrap_or(0);
    free.get(chosen).copied()
}

fn fault(rng: &mut Rng, target: Target, at: Duration, end: Duration) -> Fault {
    let lasts = Duration::from_millis(rng.below(LENGTH_MS)).min(end - at);
    let direction = if rng.chance(0.5) { Direction::ToServer } else { Direction::ToClient };
    let lasts = if let Target::Server(_) = target { lasts.min(SERVER_LENGTH) } else { lasts };
    let (kind, lasts) = match target {
        Target::Server(server) if rng.chance(0.5) => match (server, rng.below(4)) {
            (Server::Postgres, 0) => (Kind::ReadOnly, lasts),
            (Server::Postgres, 1) => (Kind::Crowd, lasts),
            (Server::Postgres, 2) => (Kind::Lock, lasts),
            (Server::Postgres, _) => (Kind::Cancel, Duration::ZERO),
            (Server::Redis, 0) => (Kind::Forget, Duration::ZERO),
            (Server::Redis, 1) => (Kind::Squeeze, lasts),
            (Server::Redis, _) => (Kind::Kick, Duration::ZERO),
        },
        Target::Program(_) | Target::Server(_) => match rng.weighted(&[0.5, 0.3, 0.2]) {
            0 => (Kind::Kill, lasts),
            1 => (Kind::Freeze, lasts),
            _ => (Kind::Restart, Duration::ZERO),
        },
        Target::Link(..) => match rng.below(7) {
            0 => (Kind::Cut, Duration::ZERO),
            1 => (Kind::CutAfter(direction, rng.below(20_000)), lasts),
            2 => (Kind::HalfClose(direction), Duration::ZERO),
            3 => (Kind::Delay(Duration::from_millis(1 + rng.below(250))), lasts),
            4 => (Kind::BlackHole, lasts),
            5 => (Kind::Mute, lasts.min(Duration::from_millis(500))),
            _ => (Kind::Refuse, lasts),
        },
    };
    Fault { at, lasts, target, kind }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kill => "killed",
            Kind::Freeze => "frozen",
            Kind::Restart => "restarted",
            Kind::Cut => "cut",
            Kind::CutAfter(..) => "cut half-way",
            Kind::HalfClose(_) => "half-closed",
            Kind::Delay(_) => "delayed",
            Kind::BlackHole => "black-holed",
            Kind::Mute => "muted and cut",
            Kind::Refuse => "refused",
            Kind::ReadOnly => "read-only",
            Kind::Crowd => "crowded",
            Kind::Lock => "locked",
            Kind::Cancel => "cancelled",
            Kind::Forget => "forgetful",
            Kind::Squeeze => "squeezed",
            Kind::Kick => "kicking",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Program::Gateway(n) => write!(f, "gateway {n}"),
            Program::Worker(n) => write!(f, "worker {n}"),
            Program::Analyzer => f.write_str("analyzer"),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Server::Postgres => "PostgreSQL",
            Server::Redis => "Redis",
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Program(program) => program.fmt(f),
            Target::Server(server) => server.fmt(f),
            Target::Link(program, server) => write!(f, "{program} - {server}"),
        }
    }
}
