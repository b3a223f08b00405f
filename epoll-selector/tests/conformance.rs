//! The conformance suite on this server: one test for each case and variant, `variant::case`.

fn main() -> std::process::ExitCode {
    conformance::main("epoll-selector", env!("CARGO_BIN_EXE_epoll-selector"))
}
