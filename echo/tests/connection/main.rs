//! Whatever a stream does, what a [`Connection`] sends is what it received.

#![allow(clippy::unwrap_used, clippy::panic)] // In a test a failure is the report.

mod fake;

use std::io::ErrorKind;
use std::time::Duration;

use echo::{Connection, Scratch, echo_until_eof};
use proptest::prelude::*;

use fake::{Deal, Fake, SCRATCH, check_connection, may_fail};

/// Short moves and every error; a read of 0 bytes would be an end of stream, so moves begin at 1.
fn deal() -> impl Strategy<Value = Deal> {
    prop_oneof![
        8 => (1..2 * SCRATCH).prop_map(Deal::Move),
        3 => Just(Deal::WouldBlock),
        2 => Just(Deal::Interrupted),
    ]
}

/// At most one reset: it ends the connection.
fn deals() -> impl Strategy<Value = Vec<Deal>> {
    (prop::collection::vec(deal(), 0..80), prop::option::weighted(0.2, 0..80_usize)).prop_map(
        |(mut deals, reset)| {
            if let Some(at) = reset {
                deals.insert(at.min(deals.len()), Deal::Reset);
            }
            deals
        },
    )
}

proptest! {
    #[test]
    fn a_connection_sends_what_it_received(
        sent in prop::collection::vec(any::<u8>(), 0..500),
        reads in deals(),
        writes in deals(),
    ) {
        check_connection(&sent, reads, writes);
    }

    #[test]
    fn the_blocking_echo_sends_what_it_received(
        sent in prop::collection::vec(any::<u8>(), 0..500),
        reads in deals(),
        writes in deals(),
    ) {
        // A stream that blocks does not say WouldBlock.
        let blocks = |deals: Vec<Deal>| -> Vec<Deal> {
            deals.into_iter().filter(|deal| !matches!(deal, Deal::WouldBlock)).collect()
        };
        let (reads, writes) = (blocks(reads), blocks(writes));
        let may_fail = may_fail(&reads, &writes);
        let mut stream = Fake::new(&sent, reads, writes);
        let mut bytes = 0;
        let mut scratch = Scratch::with(SCRATCH, Duration::ZERO);
        match echo_until_eof(&mut stream, &mut scratch, &mut bytes) {
            Ok(()) => {
                prop_assert_eq!(bytes, sent.len() as u64);
                prop_assert_eq!(stream.outgoing, sent);
            }
            Err(_) => {
                prop_assert!(may_fail, "an error that the stream did not give");
                prop_assert!(bytes <= stream.outgoing.len() as u64);
                prop_assert!(sent.starts_with(&stream.outgoing));
            }
        }
    }
}

#[test]
fn a_stream_that_takes_nothing_is_an_error_and_no_endless_loop() {
    let mut connection = Connection::new(Fake::new(b"x", vec![], vec![Deal::Move(0)]));
    let error = connection.step(&mut Scratch::with(SCRATCH, Duration::ZERO)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
}

#[test]
fn work_burns_cpu_time_for_each_read() {
    let mut connection = Connection::new(Fake::new(b"x", vec![], vec![]));
    let mut scratch = Scratch::with(SCRATCH, Duration::from_millis(20));
    let before = std::time::Instant::now();
    connection.step(&mut scratch).unwrap();
    assert!(before.elapsed() >= Duration::from_millis(20));
}
