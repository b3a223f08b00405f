//! Scales: the place of a value on an axis, and the values that the axis names.

use super::format::Unit;

/// The relation between values and places on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Equal differences have equal distances.
    Linear {
        /// Value at the start.
        low: f64,
        /// Value at the end.
        high: f64,
    },
    /// Equal ratios have equal distances.
    Log {
        /// Value at the start, above 0. With a place for zero, the start is after the break.
        low: f64,
        /// Value at the end.
        high: f64,
        /// Whether zero has a place before the start. The axis of idle connections needs 0, which
        /// has no logarithm.
        zero: bool,
    },
    /// Quantiles by the share of samples above them: p90, p99 and p99.9 have equal distances.
    Tail {
        /// Number of nines in the last quantile: 3 for 0.999.
        nines: f64,
    },
}

/// Share of a logarithmic axis between the place of zero and its lowest value.
const ZERO_SHARE: f64 = 0.18;

/// Room at each end of a logarithmic axis, as a factor.
const LOG_ROOM: f64 = 1.15;

impl Scale {
    /// Returns a scale from 0 to 1.05 times the largest of `values`; `None` if no value is above 0.
    pub(super) fn from_zero(values: &[f64]) -> Option<Scale> {
        let high = finite(values).fold(0.0, f64::max);
        (high > 0.0).then_some(Scale::Linear { low: 0.0, high: high * 1.05 })
    }

    /// Returns a scale from exactly the smallest to the largest of `values`; `None` without values.
    pub(super) fn linear(values: &[f64]) -> Option<Scale> {
        let low = finite(values).reduce(f64::min)?;
        let high = finite(values).reduce(f64::max)?;
        let room = if low < high { 0.0 } else { low.abs().max(1.0) / 2.0 };
        Some(Scale::Linear { low: low - room, high: high + room })
    }

    /// Returns a scale from exactly the smallest to the largest of `values` above 0, with a place
    /// for zero if `values` has a zero. Returns `None` if no value is above 0.
    pub(super) fn log_exact(values: &[f64]) -> Option<Scale> {
        let positive = || finite(values).filter(|value| *value > 0.0);
        let (low, high) = (positive().reduce(f64::min)?, positive().reduce(f64::max)?);
        let zero = finite(values).any(|value| value == 0.0);
        let room = if low < high || zero { 1.0 } else { 2.0 };
        Some(Scale::Log { low: low / room, high: high * room, zero })
    }

    /// Returns the scale of [`Scale::log_exact`] with room at its ends. The scale spans at least a
    /// factor of `span_min`: a difference of a few per cent must not fill a chart.
    pub(super) fn log(values: &[f64], span_min: f64) -> Option<Scale> {
        let Scale::Log { low, high, zero } = Scale::log_exact(values)? else { return None };
        let (low, high) = (low / LOG_ROOM, high * LOG_ROOM);
        let missing = (span_min / (high / low)).max(1.0).sqrt();
        Some(Scale::Log { low: low / missing, high: high * missing, zero })
    }

    /// Returns a scale to the largest of `quantiles` below 1, and at least to p99.
    pub(super) fn tail(quantiles: &[f64]) -> Scale {
        let below_1 = finite(quantiles).filter(|quantile| *quantile < 1.0);
        let nines = below_1.map(|quantile| -(1.0 - quantile).log10()).fold(2.0, f64::max);
        Scale::Tail { nines }
    }

    /// Returns the place of `value`: 0 at the start, 1 at the end, and beyond these outside the
    /// axis. Returns `None` for a value without a place, such as the logarithm of a negative
    /// number.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let place = match *self {
            Scale::Linear { low, high } => (value - low) / (high - low),
            Scale::Log { zero: true, .. } if value == 0.0 => 0.0,
            Scale::Log { low, high, zero } => {
                let share = if low < high { (value / low).ln() / (high / low).ln() } else { 1.0 };
                if zero { ZERO_SHARE + (1.0 - ZERO_SHARE) * share } else { share }
            }
            Scale::Tail { nines } => -(1.0 - value).log10() / nines,
        };
        place.is_finite().then_some(place)
    }

    /// Returns at most `count` round values within the scale, ascending.
    pub(super) fn ticks(&self, unit: Unit, count: usize) -> Vec<f64> {
        let count = count.max(2);
        let mut ticks = match *self {
            Scale::Linear { low, high } => linear_ticks(low, high, count),
            Scale::Log { low, high, zero } => {
                let mut ticks = if zero { vec![0.0] } else { vec![] };
                let room = count - ticks.len();
                ticks.extend(log_ticks(low, high, unit, room));
                ticks
            }
            Scale::Tail { .. } => vec![0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999],
        };
        ticks.retain(|tick| {
            self.place(*tick).is_some_and(|place| (-1e-9..=1.0 + 1e-9).contains(&place))
        });
        ticks
    }
}

fn finite(values: &[f64]) -> impl Iterator<Item = f64> + '_ {
    values.iter().copied().filter(|value| value.is_finite())
}

/// At most `count + 1` multiples of a step between `low` and `high`. The step is 1, 2 or 5 times a
/// power of ten.
fn linear_ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let raw = (high - low) / count as f64;
    let power = 10f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|mantissa| mantissa * power);
    let Some(step) = steps.into_iter().find(|step| *step >= raw) else { return vec![] };
    let first = (low / step).ceil();
    (0..=count).map(|index| (first + index as f64) * step).take_while(|t| *t <= high).collect()
}

/// The densest of these sets with at most `count` ticks: 1, 2 and 5 of each decade; 1 and 3; 1; 1
/// of every second decade; and so on. For bytes, the sets are powers of two.
fn log_ticks(low: f64, high: f64, unit: Unit, count: usize) -> Vec<f64> {
    if unit == Unit::Bytes {
        let exponents = |step: i32| multiples(low.log2(), high.log2(), step);
        let sets = (1..=20).map(|step| exponents(step).map(|power| 2f64.powi(power)).collect());
        return densest(sets, count);
    }
    let decades = |step: i32| multiples(low.log10() - 1.0, high.log10(), step);
    let with = |mantissas: &'static [f64], step: i32| -> Vec<f64> {
        decades(step)
            .flat_map(|power| mantissas.iter().map(move |mantissa| mantissa * 10f64.powi(power)))
            .filter(|tick| (low..=high).contains(tick))
            .collect()
    };
    let fine = [with(&[1.0, 2.0, 5.0], 1), with(&[1.0, 3.0], 1)];
    densest(fine.into_iter().chain((1..=20).map(|step| with(&[1.0], step))), count)
}

/// The whole multiples of `step` between `low` and `high`. Both ends are clamped to the exponents
/// of an `f64`.
fn multiples(low: f64, high: f64, step: i32) -> impl Iterator<Item = i32> {
    let first = (low.clamp(-400.0, 1100.0) / f64::from(step)).ceil() as i32;
    let last = (high.clamp(-400.0, 1100.0) / f64::from(step)).floor() as i32;
    (first..=last).map(move |multiple| multiple * step)
}

/// The first of `sets` with at most `count` ticks.
fn densest(sets: impl Iterator<Item = Vec<f64>>, count: usize) -> Vec<f64> {
    sets.into_iter().find(|set| set.len() <= count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_scale_has_a_place_for_zero_only_if_zero_occurs() {
        let scale = Scale::log_exact(&[0.0, 100.0, 10_000.0]).unwrap();
        assert_eq!(scale.place(0.0), Some(0.0));
        assert_eq!(scale.place(100.0), Some(ZERO_SHARE));
        assert!((scale.place(10_000.0).unwrap() - 1.0).abs() < 1e-12);
        let scale = Scale::log_exact(&[1.0, 100.0]).unwrap();
        assert_eq!(scale.place(0.0), None);
        assert!((scale.place(10.0).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(scale.place(-1.0), None);
    }

    #[test]
    fn a_small_difference_does_not_fill_the_chart() {
        let scale = Scale::log(&[100.0, 103.0], 10.0).unwrap();
        let apart = scale.place(103.0).unwrap() - scale.place(100.0).unwrap();
        assert!(apart < 0.02, "{apart}");
    }

    #[test]
    fn quantiles_are_spread_by_the_share_above_them() {
        let scale = Scale::tail(&[0.5, 0.9, 0.99, 0.999]);
        let places = [0.0, 0.9, 0.99, 0.999].map(|q| scale.place(q).unwrap());
        for (place, wanted) in places.into_iter().zip([0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0]) {
            assert!((place - wanted).abs() < 1e-9);
        }
        assert_eq!(scale.place(1.0), None);
        assert_eq!(scale.ticks(Unit::Quantile, 9), [0.5, 0.9, 0.99, 0.999]);
    }

    #[test]
    fn ticks_are_round_and_few() {
        let scale = Scale::Log { low: 30.0, high: 4000.0, zero: false };
        assert_eq!(scale.ticks(Unit::Number, 7), [50., 100., 200., 500., 1000., 2000.]);
        assert_eq!(scale.ticks(Unit::Number, 5), [30., 100., 300., 1000., 3000.]);
        assert_eq!(scale.ticks(Unit::Number, 4), [100.0, 1000.0]);
        let scale = Scale::Log { low: 200.0, high: 20_000.0, zero: false };
        assert_eq!(scale.ticks(Unit::Bytes, 4), [256.0, 1024.0, 4096.0, 16384.0]);
        let scale = Scale::Linear { low: 0.0, high: 105.0 };
        assert_eq!(scale.ticks(Unit::Number, 6), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let scale = Scale::Log { low: 1.0, high: 1e12, zero: true };
        assert!(scale.ticks(Unit::Number, 5).len() <= 5);
    }

    #[test]
    fn numbers_without_a_measure_have_no_scale_or_a_usable_one() {
        for values in [&[] as &[f64], &[f64::NAN], &[0.0], &[-1.0, f64::INFINITY]] {
            assert_eq!(Scale::log(values, 10.0), None);
            assert_eq!(Scale::from_zero(values), None);
        }
        let extremes = [5.0, f64::MIN_POSITIVE, f64::MAX, 1e-300, 0.0, f64::NAN];
        for scale in [
            Scale::log(&[5.0], 10.0).unwrap(),
            Scale::log_exact(&[5.0]).unwrap(),
            Scale::log_exact(&[0.0, 5.0]).unwrap(),
            Scale::linear(&[5.0]).unwrap(),
            Scale::linear(&[0.0, 0.0]).unwrap(),
            Scale::log(&extremes, 10.0).unwrap(),
            Scale::tail(&[f64::NAN, 1.0]),
        ] {
            assert!(scale.place(5.0).is_none_or(f64::is_finite));
            for unit in [Unit::Number, Unit::Bytes] {
                assert!(scale.ticks(unit, 6).iter().all(|tick| tick.is_finite()), "{scale:?}");
            }
        }
    }
}
