fn main() -> std::process::ExitCode {
    service::boot::run(service::settings::Tier::Worker, ingest_worker::run)
}
