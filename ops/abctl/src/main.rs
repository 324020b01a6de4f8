fn main() -> std::process::ExitCode {
    abctl::cli::main()
}
