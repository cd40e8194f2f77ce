//! Starts the command line, nothing else.

fn main() -> std::process::ExitCode {
    tacdrop::cli::main()
}
