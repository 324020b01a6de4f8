fn main() -> std::process::ExitCode {
    analyzer::main()
}
