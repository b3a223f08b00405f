//! The conformance suite on this server: one test for each case and variant, `variant::case`.

conformance::suite!();
