//! Labels at the ends of lines, moved apart until no label covers another.

/// Returns a place between `top` and `bottom` for each label of the given `height`. The ideal place
/// of a label is in `wanted`. The labels keep their order and do not overlap, and the sum of the
/// squared moves is the smallest possible. Without room for all, the labels are spread evenly and
/// overlap.
///
/// Subtract `n · height` from the place of the `n`-th label. The places must then only not descend:
/// this is isotonic regression, and pooling adjacent violators solves it.
pub(super) fn spread(wanted: &[f64], height: f64, top: f64, bottom: f64) -> Vec<f64> {
    let gaps = wanted.len().saturating_sub(1).max(1) as f64;
    let height = height.min((bottom - top).max(0.0) / gaps);
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));

    // Pools of labels that touch: the sum of their ideal places, and their number.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    let mean = |(sum, count): (f64, usize)| sum / count as f64;
    for (nth, index) in order.iter().enumerate() {
        let mut pool = (wanted[*index] - nth as f64 * height, 1);
        while let Some(above) = pools.pop_if(|above| mean(*above) > mean(pool)) {
            pool = (above.0 + pool.0, above.1 + pool.1);
        }
        pools.push(pool);
    }

    let last = (bottom - height * wanted.len().saturating_sub(1) as f64).max(top);
    let places = pools.iter().flat_map(|pool| std::iter::repeat_n(mean(*pool), pool.1));
    let mut placed = vec![0.0; wanted.len()];
    for ((nth, index), place) in order.iter().enumerate().zip(places) {
        placed[*index] = place.clamp(top, last) + nth as f64 * height;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closest(placed: &[f64]) -> f64 {
        let mut sorted = placed.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn labels_with_room_stay_at_their_ideal_place() {
        assert_eq!(spread(&[10.0, 50.0, 30.0], 10.0, 0.0, 100.0), [10.0, 50.0, 30.0]);
    }

    #[test]
    fn labels_that_would_overlap_move_apart_evenly_and_keep_their_order() {
        assert_eq!(spread(&[50.0, 50.0], 10.0, 0.0, 100.0), [45.0, 55.0]);
        assert_eq!(spread(&[52.0, 50.0, 51.0], 10.0, 0.0, 100.0), [61.0, 41.0, 51.0]);
    }

    #[test]
    fn labels_stay_within_the_chart() {
        assert_eq!(spread(&[99.0, 100.0], 10.0, 0.0, 100.0), [90.0, 100.0]);
        assert_eq!(spread(&[0.0, 1.0], 10.0, 0.0, 100.0), [0.0, 10.0]);
        assert_eq!(spread(&[-500.0, 500.0], 10.0, 0.0, 100.0), [0.0, 100.0]);
    }

    #[test]
    fn many_labels_never_overlap_while_there_is_room() {
        for count in 1..=11 {
            for step in [0.0, 0.1, 3.0, 9.0, 40.0] {
                for start in [0.0, 50.0, 100.0] {
                    let wanted: Vec<f64> = (0..count).map(|n| start + n as f64 * step).collect();
                    let placed = spread(&wanted, 10.0, 0.0, 100.0);
                    assert!(closest(&placed) > 9.99, "{wanted:?} {placed:?}");
                    assert!(placed.iter().all(|y| (-0.01..=100.01).contains(y)), "{placed:?}");
                }
            }
        }
    }

    #[test]
    fn without_room_labels_are_spread_evenly() {
        let placed = spread(&[5.0; 21], 10.0, 0.0, 100.0);
        assert!(closest(&placed) > 4.99);
        assert_eq!(spread(&[], 10.0, 0.0, 100.0), [0.0; 0]);
        assert_eq!(spread(&[1.0], 10.0, 5.0, 5.0), [5.0]);
    }
}
