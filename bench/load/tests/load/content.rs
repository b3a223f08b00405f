//! The check finds every change of the bytes.

use loadgen::Content;
use proptest::prelude::*;

fn stream(content: Content, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    content.fill(offset, &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn the_cut_makes_no_difference(
        connection: u64, offset in 0..1_u64 << 50,
        cuts in prop::collection::vec(1..5000_usize, 1..20)
    ) {
        let content = Content::new(1, connection);
        let whole = stream(content, offset, cuts.iter().sum());
        let mut at = 0;
        for cut in cuts {
            prop_assert_eq!(&whole[at..at + cut], stream(content, offset + at as u64, cut));
            prop_assert_eq!(content.check(offset + at as u64, &whole[at..at + cut]), Ok(()));
            at += cut;
        }
    }

    #[test]
    fn a_wrong_byte_is_found_where_it_is(
        connection: u64, offset in 0..1_u64 << 50, length in 1..20_000_usize,
        place: prop::sample::Index, flip in 1..=255_u8
    ) {
        let content = Content::new(1, connection);
        let mut bytes = stream(content, offset, length);
        let place = place.index(length);
        bytes[place] ^= flip;
        prop_assert_eq!(content.check(offset, &bytes), Err(place));
    }

    #[test]
    fn bytes_out_of_place_are_found(
        offset in 0..1_u64 << 50, length in 16..20_000_usize, from in 0..1_u64 << 50
    ) {
        prop_assume!(from != offset);
        let content = Content::new(1, 1);
        prop_assert!(content.check(offset, &stream(content, from, length)).is_err());
    }

    #[test]
    fn bytes_of_another_connection_are_found(
        one: u64, other: u64, offset in 0..1_u64 << 50, length in 16..20_000_usize
    ) {
        prop_assume!(one != other);
        let bytes = stream(Content::new(1, other), offset, length);
        prop_assert!(Content::new(1, one).check(offset, &bytes).is_err());
    }
}
