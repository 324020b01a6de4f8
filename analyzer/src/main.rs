use std::process::ExitCode;

fn main() -> ExitCode {
    service::boot::run(service::settings::Tier::Analyzer, analyzer::run)
}
