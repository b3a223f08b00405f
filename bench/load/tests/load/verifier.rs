//! The verifiers find the right name for any returned bytes.

use loadgen::Content;
use proptest::prelude::*;

use crate::chunked::{DATAGRAM, Happens, check_datagrams, check_stream};

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => Just(Happens::Sends),
        1 => Just(Happens::GivesUp),
        4 => (0..4_u64, 0..DATAGRAM, prop_oneof![3 => Just(0), 1 => any::<u8>()])
            .prop_map(|(before, place, flip)| Happens::ComesBack { before, place, flip }),
        1 => prop::collection::vec(any::<u8>(), 0..2 * DATAGRAM).prop_map(Happens::Comes),
    ]
}

proptest! {
    #[test]
    fn right_bytes_are_no_fault_in_any_pieces_and_wrong_ones_are(
        sent in 0..5000_usize, more in 0..100_usize, less in 0..5000_usize,
        flip in prop::option::of((any::<prop::sample::Index>(), 1..=255_u8)),
        cuts in prop::collection::vec(1..2000_usize, 0..20)
    ) {
        let content = Content::new(1, 2);
        let mut returned = vec![0; (sent + more).saturating_sub(less)];
        content.fill(0, &mut returned);
        if let (Some((place, flip)), false) = (flip, returned.is_empty()) {
            let place = place.index(returned.len());
            returned[place] ^= flip;
        }
        check_stream(content, sent, &returned, &cuts);
    }

    #[test]
    fn any_bytes_are_checked_without_a_panic(
        sent in 0..500_usize,
        returned in prop::collection::vec(any::<u8>(), 0..600),
        cuts in prop::collection::vec(1..100_usize, 0..20)
    ) {
        check_stream(Content::new(1, 2), sent, &returned, &cuts);
    }

    #[test]
    fn a_datagram_is_an_answer_late_or_a_fault(happens in prop::collection::vec(happens(), 0..100)) {
        check_datagrams(Content::new(1, 2), &happens);
    }
}
