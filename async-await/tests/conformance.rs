//! The conformance suite on this server: one test for each case and variant, `variant::case`.

fn main() -> std::process::ExitCode {
    conformance::main("async-await", env!("CARGO_BIN_EXE_async-await"))
}
