fn main() -> std::process::ExitCode {
    ingest_gateway::main()
}
