fn main() -> std::process::ExitCode {
    bench::guard::main()
}
