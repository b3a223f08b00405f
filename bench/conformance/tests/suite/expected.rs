//! The cases that must fail for each fault.

/// What the suite must find in a server with one fault.
pub(crate) struct Expected {
    /// The fault's name.
    pub(crate) fault: &'static str,
    /// Groups of cases that must fail.
    pub(crate) fails: &'static [&'static [&'static str]],
    /// Cases that may fail or pass, by a part of their names. The scheduler decides whether the fault shows
    /// in them.
    pub(crate) may_fail: &'static [&'static str],
}

/// A client never reads, and the server serves others.
const NEVER_READS: &[&str] =
    &["a_client_that_never_reads_stalls_nobody", "fifty_clients_that_never_read_stall_nobody"];

/// The server must be left with bytes that it cannot write.
const STUCK: &[&str] = &[
    "half_close_with_data_queued",
    "reset_with_output_pending",
    "memory_is_bounded_when_a_client_never_reads",
    "memory_is_bounded_when_fifty_never_read",
    "a_client_that_reads_late_gets_everything",
    "sigterm_with_a_stuck_peer_ends_within_drain",
    "no_client_is_served_after_sigterm",
    "a_second_sigterm_ends_at_once",
];

/// The server echoes what has arrived before it ends.
const DRAINS: &[&str] = &["sigterm_echoes_what_has_arrived", "sigint_echoes_what_has_arrived"];

/// The server is out of descriptors.
const EXHAUSTED: &[&str] = &[
    "out_of_descriptors_it_lives_and_recovers",
    "out_of_descriptors_each_that_leaves_lets_one_in",
    "no_spin_when_out_of_descriptors",
];

pub(crate) const EXPECTED: &[Expected] = &[
    Expected { fault: "none", fails: &[], may_fail: &[] },
    Expected {
        fault: "drops-the-last-byte",
        fails: &[
            DRAINS,
            &[
                "eight_mebibytes",
                "random_chunks",
                "half_close_after_a_message",
                "half_close_with_data_queued",
                "a_client_that_reads_late_gets_everything",
                "a_flooding_client_starves_nobody",
                "a_storm_of_harmless_signals",
            ],
        ],
        may_fail: &["deep_pipelining"],
    },
    Expected {
        fault: "swaps-two-chunks",
        fails: &[&["eight_mebibytes"]],
        may_fail: &[
            "half_close_with_data_queued",
            "a_client_that_reads_late_gets_everything",
            "a_flooding_client_starves_nobody",
        ],
    },
    Expected {
        fault: "echoes-only-the-first-read",
        fails: &[
            STUCK,
            NEVER_READS,
            EXHAUSTED,
            DRAINS,
            &[
                "two_clients_at_once",
                "all_byte_values",
                "eight_mebibytes",
                "random_chunks",
                "deep_pipelining",
                "one_byte_at_a_time",
                "a_hundred_clients_at_once",
                "half_close_after_a_message",
                "reset_in_mid_message",
                "a_flooding_client_starves_nobody",
                "idle_clients_are_kept_and_served",
                "idle_clients_do_not_slow_an_active_one",
                "over_max_connections_the_next_waits",
                "stop_and_continue",
                "a_storm_of_harmless_signals",
            ],
        ],
        may_fail: &[],
    },
    Expected {
        fault: "closes-on-half-close",
        fails: &[&["half_close_with_data_queued"]],
        // The server takes a reset for a half-close, and does not count it as an error.
        may_fail: &[
            "half_close_after_a_message",
            "clients_in_the_queue_get_their_turn",
            "totals_at_exit",
        ],
    },
    Expected {
        fault: "ends-on-reset",
        fails: &[&[
            "reset_in_mid_message",
            "reset_with_output_pending",
            "two_thousand_connections_leak_nothing",
            "sigterm_with_a_stuck_peer_ends_within_drain",
            "totals_at_exit",
        ]],
        // A client that comes directly after the reset may still be served.
        may_fail: &[
            "reset_before_accept",
            "never_read",
            "sigterm_while_clients_compute_ends_within_drain",
            "stdout_has_exactly_one_line",
        ],
    },
    Expected {
        fault: "leaks-a-descriptor",
        fails: &[&[
            "two_thousand_connections_leak_nothing",
            "out_of_descriptors_it_lives_and_recovers",
            "out_of_descriptors_each_that_leaves_lets_one_in",
        ]],
        may_fail: &[],
    },
    Expected {
        fault: "leaks-a-thread",
        fails: &[&["two_thousand_connections_leak_nothing"]],
        may_fail: &[],
    },
    Expected {
        fault: "serves-one-at-a-time",
        fails: &[
            NEVER_READS,
            DRAINS,
            &[
                "two_clients_at_once",
                "a_hundred_clients_at_once",
                "reset_in_mid_message",
                "reset_with_output_pending",
                "memory_is_bounded_when_fifty_never_read",
                "a_flooding_client_starves_nobody",
                "idle_clients_are_kept_and_served",
                "idle_clients_do_not_slow_an_active_one",
                "over_max_connections_the_next_waits",
                "no_spin_over_max_connections",
                "out_of_descriptors_it_lives_and_recovers",
                "clients_past_fd_setsize",
                "stop_and_continue",
                "sigterm_with_idle_clients_ends_at_once",
                "sigterm_with_a_stuck_peer_ends_within_drain",
                "sigterm_while_clients_compute_ends_within_drain",
                "idle_it_uses_no_cpu",
                "it_restarts_at_once_on_the_same_port",
                "totals_at_exit",
            ],
        ],
        may_fail: &[],
    },
    Expected { fault: "one-slow-reader-stalls-all", fails: &[NEVER_READS], may_fail: &[] },
    Expected {
        fault: "serves-one-until-it-is-silent",
        fails: &[NEVER_READS, &["a_flooding_client_starves_nobody"]],
        may_fail: &[],
    },
    Expected { fault: "buffers-without-bound", fails: &[NEVER_READS, STUCK], may_fail: &[] },
    Expected {
        fault: "asks-about-every-client",
        fails: &[&["idle_clients_do_not_slow_an_active_one"]],
        may_fail: &[],
    },
    Expected {
        fault: "drops-idle-clients",
        fails: &[&["idle_clients_are_kept_and_served"]],
        // On a busy machine, every client is idle at times.
        may_fail: &[""],
    },
    Expected {
        fault: "turns-away-when-full",
        fails: &[&["over_max_connections_the_next_waits"]],
        may_fail: &[],
    },
    Expected {
        fault: "spins-when-full",
        fails: &[&["no_spin_over_max_connections", "no_spin_when_out_of_descriptors"]],
        may_fail: &[],
    },
    Expected {
        fault: "spins-on-emfile",
        fails: &[&["no_spin_when_out_of_descriptors"]],
        may_fail: &[],
    },
    Expected { fault: "ends-on-emfile", fails: &[EXHAUSTED], may_fail: &[] },
    Expected {
        fault: "ignores-sigterm",
        fails: &[&[
            "sigterm_echoes_what_has_arrived",
            "sigterm_with_idle_clients_ends_at_once",
            "sigterm_with_a_stuck_peer_ends_within_drain",
            "sigterm_while_clients_compute_ends_within_drain",
            "no_client_is_served_after_sigterm",
            "a_second_sigterm_ends_at_once",
            "it_restarts_at_once_on_the_same_port",
            "stdout_has_exactly_one_line",
            "totals_at_exit",
        ]],
        may_fail: &[],
    },
    Expected {
        fault: "ends-on-sigterm-at-once",
        fails: &[
            DRAINS,
            &[
                "no_client_is_served_after_sigterm",
                "a_second_sigterm_ends_at_once",
                "totals_at_exit",
            ],
        ],
        may_fail: &[],
    },
    Expected {
        fault: "waits-for-stuck-peers",
        fails: &[&[
            "sigterm_with_a_stuck_peer_ends_within_drain",
            "sigterm_while_clients_compute_ends_within_drain",
        ]],
        may_fail: &[],
    },
    Expected {
        fault: "accepts-while-it-drains",
        fails: &[&["no_client_is_served_after_sigterm"]],
        may_fail: &[],
    },
    Expected { fault: "ends-on-eintr", fails: &[&["a_storm_of_harmless_signals"]], may_fail: &[] },
    Expected { fault: "prints-twice", fails: &[&["stdout_has_exactly_one_line"]], may_fail: &[] },
    Expected {
        fault: "panics-when-the-address-is-in-use",
        fails: &[&["address_in_use_is_one_clear_line"]],
        may_fail: &[],
    },
    Expected {
        fault: "keeps-the-port",
        fails: &[&["it_restarts_at_once_on_the_same_port"]],
        may_fail: &[],
    },
    Expected {
        fault: "spins-when-idle",
        fails: &[&[
            "idle_it_uses_no_cpu",
            "no_spin_over_max_connections",
            "no_spin_when_out_of_descriptors",
        ]],
        may_fail: &[],
    },
];

/// What the failure of a soak must contain, for each fault.
pub(crate) const SOAKED: &[(&str, Option<&str>)] = &[
    ("none", None),
    ("drops-the-last-byte", Some("bytes were lost")),
    ("swaps-two-chunks", Some("changed places")),
    ("leaks-a-descriptor", Some("descriptors ")),
    ("leaks-a-thread", Some("threads ")),
    ("ends-on-emfile", Some("Too many open files")),
    ("ends-on-sigterm-at-once", Some("totals of")),
];
