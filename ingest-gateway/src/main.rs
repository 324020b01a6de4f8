//! The ingest gateway.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::boot::run(service::settings::Tier::Gateway, ingest_gateway::run)
}
