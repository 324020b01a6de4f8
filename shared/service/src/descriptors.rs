//! File descriptors: every connection is one, and systems begin with 1,024 of them although many more may be had.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of listeners, stores, queues and files, besides the connections served.
const OWN: u64 = 512;

/// Makes room for as many connections, as far as the system lets this process; says so when that is not far enough.
pub fn make_room(connections: usize) {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OWN);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let may = maximum.unwrap_or(u64::MAX);
    if current.unwrap_or(u64::MAX) < wanted {
        let raised = Rlimit { current: Some(wanted.min(may)), maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the number of file descriptors cannot be raised");
        }
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if files < wanted {
        tracing::warn!(
            files,
            connections,
            "fewer files can be open than AB_MAX_CONNECTIONS and the stores need"
        );
    }
}
