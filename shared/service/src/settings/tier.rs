/// Which program is reading its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    Gateway,
    Worker,
    Analyzer,
    /// `abctl up`: the three above in one process.
    OneProcess,
    /// `abctl` and other tools of the operator.
    Tool,
}

impl Tier {
    /// The name in logs, health answers and usage texts.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Gateway => "ingest-gateway",
            Tier::Worker => "ingest-worker",
            Tier::Analyzer => "analyzer",
            Tier::OneProcess => "abctl up",
            Tier::Tool => "abctl",
        }
    }

    /// Whether it is a server, not a tool.
    pub fn serves(self) -> bool {
        self != Tier::Tool
    }

    pub(super) fn bits(self) -> u8 {
        match self {
            Tier::Gateway => GATEWAY,
            Tier::Worker => WORKER,
            Tier::Analyzer => ANALYZER,
            Tier::OneProcess => SERVERS | ONE_PROCESS,
            Tier::Tool => TOOL,
        }
    }
}

pub const GATEWAY: u8 = 1;
pub const WORKER: u8 = 2;
pub const ANALYZER: u8 = 4;
pub const TOOL: u8 = 8;
/// What is read by `abctl up` and by none of its three parts.
pub const ONE_PROCESS: u8 = 16;
pub const SERVERS: u8 = GATEWAY | WORKER | ANALYZER;
pub const PUBLIC: u8 = GATEWAY | ANALYZER;
pub const ALL: u8 = SERVERS | TOOL;
