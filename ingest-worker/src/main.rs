fn main() -> std::process::ExitCode {
    ingest_worker::main()
}
