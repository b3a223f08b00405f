//! The conformance suite on this server: one test for each case and variant, `variant::case`.

fn main() -> std::process::ExitCode {
    conformance::main("signal-driven", env!("CARGO_BIN_EXE_signal-driven"))
}
