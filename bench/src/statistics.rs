//! Statistics over blocks: medians, intervals, verdicts, and the straight line.
//!
//! A block is a round in which every server had its turn. Requests are not independent of each
//! other: one preemption delays a hundred requests. So no function here takes requests. A pass is a
//! group of blocks that were measured close together in time; passes lie further apart.
//!
//! The bootstrap resamples passes, then the blocks of each pass. Four passes are few. If passes
//! differ much, an interval that is named 95 % holds the true value in about 85 % of runs. A
//! verdict therefore also needs a difference beyond the interval of the A/A control. A test below
//! simulates this.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// Resamples of a bootstrap. With this number, the third digit of an interval's ends is stable.
const RESAMPLES: usize = 1000;

/// Fewer blocks than this give no verdict. By chance alone, all of 6 blocks lie on one side of 1
/// with a probability of 2 · 2⁻⁶ = 3 %. For 5 blocks it is 6 %, more than the 5 % of the interval.
pub const BLOCKS_MIN: usize = 6;

/// A median, and an interval that holds the true median with a probability of about 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The median over the blocks.
    pub median: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Number of blocks.
    pub blocks: usize,
}

/// The result of comparing a server with the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better on the metric compared. The difference exceeds chance and the noise floor.
    Faster,
    /// Worse on the metric compared. The difference exceeds chance and the noise floor.
    Slower,
    /// The data show no difference beyond chance and the noise floor.
    NotDistinguishable,
}

impl Estimate {
    /// Returns the median of the values of all passes, with a percentile-bootstrap interval (B.
    /// Efron, 1979). Returns `None` if there are no values. The same `seed` gives the same
    /// interval.
    ///
    /// The bootstrap resamples passes first, and then the blocks of each pass. The blocks of one
    /// pass share the disturbances of the same minutes, which a bootstrap over blocks alone does
    /// not see. If one pass of four contradicts the others, the interval includes that pass.
    pub fn of(passes: &[Vec<f64>], seed: u64) -> Option<Estimate> {
        let passes: Vec<&Vec<f64>> = passes.iter().filter(|pass| !pass.is_empty()).collect();
        let mut all: Vec<f64> = passes.iter().copied().flatten().copied().collect();
        let (blocks, median) = (all.len(), median_in_place(&mut all)?);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut resample = Vec::with_capacity(blocks);
        let mut medians = Vec::with_capacity(RESAMPLES);
        for _ in 0..RESAMPLES {
            resample.clear();
            for _ in 0..passes.len() {
                let pass = passes[rng.random_range(0..passes.len())];
                resample.extend((0..pass.len()).map(|_| pass[rng.random_range(0..pass.len())]));
            }
            medians.extend(median_in_place(&mut resample));
        }
        medians.sort_by(f64::total_cmp);
        let low = quantile(&medians, 0.025)?;
        let high = quantile(&medians, 0.975)?;
        Some(Estimate { median, low, high, blocks })
    }

    /// Returns the ratio `ours[i] / reference[i]` over the blocks in which both were measured. A
    /// disturbance of a whole block cancels out of the ratio. `ends[k]` is the number of blocks at
    /// the end of pass `k`. Returns `None` if no block has both.
    pub fn of_ratios(
        ours: &[Option<f64>],
        reference: &[Option<f64>],
        ends: &[usize],
        seed: u64,
    ) -> Option<Estimate> {
        let pairs = ours.iter().zip(reference);
        let ratios: Vec<Option<f64>> = pairs
            .map(|(ours, reference)| Some((*ours)? / (*reference)?))
            .map(|ratio| ratio.filter(|ratio| ratio.is_finite() && *ratio > 0.0))
            .collect();
        Estimate::of(&by_pass(&ratios, ends), seed)
    }

    /// Half the width of the interval, as a share of the median. Infinite or NaN for a median of 0.
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.median
    }

    /// For a ratio: the largest factor by which an end of the interval differs from 1, at least 1.
    pub fn strays(&self) -> f64 {
        let factor = |ratio: f64| if ratio < 1.0 { 1.0 / ratio } else { ratio };
        factor(self.low).max(factor(self.high))
    }
}

impl Verdict {
    /// The word in `report.csv`.
    pub fn label(self) -> &'static str {
        match self {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::NotDistinguishable => "not distinguishable",
        }
    }

    /// Judges the ratio of a server to the reference. Claims a difference if the interval of
    /// `ratio` excludes 1 *and* its median differs from 1 by a larger factor than both ends of the
    /// A/A control's interval. Claims none with fewer than [`BLOCKS_MIN`] blocks, and none without
    /// a control.
    pub fn of(ratio: &Estimate, noise_floor: Option<&Estimate>, more_is_better: bool) -> Verdict {
        let Some(noise_floor) = noise_floor else { return Verdict::NotDistinguishable };
        let floor = noise_floor.strays();
        if ratio.blocks < BLOCKS_MIN || noise_floor.blocks < BLOCKS_MIN {
            Verdict::NotDistinguishable
        } else if ratio.low > 1.0 && ratio.median > floor {
            if more_is_better { Verdict::Faster } else { Verdict::Slower }
        } else if ratio.high < 1.0 && ratio.median < 1.0 / floor {
            if more_is_better { Verdict::Slower } else { Verdict::Faster }
        } else {
            Verdict::NotDistinguishable
        }
    }
}

/// Returns the values measured in the blocks of each pass. `ends[k]` is the number of blocks at the
/// end of pass `k`.
pub fn by_pass(blocks: &[Option<f64>], ends: &[usize]) -> Vec<Vec<f64>> {
    let starts = [0].into_iter().chain(ends.iter().copied());
    let passes = starts.zip(ends).filter_map(|(start, end)| blocks.get(start..*end));
    passes.map(|pass| pass.iter().flatten().copied().collect()).collect()
}

/// A point with a larger leverage does not enter a line. The leverage of a point is the share of
/// its own y in the line's y at that x, between 0 and 1. A point near 1 decides the slope alone.
const LEVERAGE_MAX: f64 = 0.8;

/// Student's t for a two-sided interval of 95 %, for 1, 2, 3 … degrees of freedom. More degrees of
/// freedom use the last value, which makes the interval slightly too wide.
const STUDENT_95: [f64; 10] =
    [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/// A straight line through points, by least squares.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Growth of y per unit of x.
    pub slope: f64,
    /// Lower end of the slope's 95 % interval.
    pub slope_low: f64,
    /// Upper end of the slope's 95 % interval.
    pub slope_high: f64,
    /// y at x = 0.
    pub intercept: f64,
    /// Share of the variation of y that the line explains, 0 to 1. It is 1 if y does not vary.
    pub r_squared: f64,
    /// Number of points in the line.
    pub points: usize,
    /// x of each point that was left out because of its leverage, in the order of leaving out.
    pub left_out: Vec<f64>,
}

impl Line {
    /// Fits the line through `points` of (x, y), with the classical interval of the slope, which
    /// assumes errors of equal size at all points.
    ///
    /// The point of the largest leverage is left out until no leverage exceeds 0.8. At least four
    /// points remain in a line: of three points, one always has a leverage of 5/6 or more. Returns
    /// `None` if too few remain.
    pub fn through(points: &[(f64, f64)]) -> Option<Line> {
        let mut points = points.to_vec();
        points.retain(|(x, y)| x.is_finite() && y.is_finite());
        let mut left_out = Vec::new();
        loop {
            let count = points.len() as f64;
            let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
            let xx: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
            if points.is_empty() || xx == 0.0 {
                return None;
            }
            let leverage = |(x, _): &(f64, f64)| 1.0 / count + (x - mean_x).powi(2) / xx;
            let leverages = points.iter().map(leverage).enumerate();
            let (index, largest) = leverages.max_by(|a, b| a.1.total_cmp(&b.1))?;
            if largest <= LEVERAGE_MAX {
                return Line::least_squares(&points, mean_x, xx, left_out);
            }
            left_out.push(points.remove(index).0);
        }
    }

    /// The line through four points or more. `mean_x` is the mean of x, and `xx` is the sum of the
    /// squared distances from it. Returns `None` if a sum exceeds the range of an `f64`.
    fn least_squares(
        points: &[(f64, f64)],
        mean_x: f64,
        xx: f64,
        left_out: Vec<f64>,
    ) -> Option<Line> {
        let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / points.len() as f64;
        let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
            points.iter().map(|(x, y)| term(x - mean_x, y - mean_y)).sum()
        };
        let slope = sum(&|x, y| x * y) / xx;
        let yy = sum(&|_, y| y * y);
        let unexplained = sum(&|x, y| (y - slope * x).powi(2));
        let freedom = points.len().checked_sub(2).filter(|freedom| *freedom > 0)?;
        let t = STUDENT_95[freedom.min(STUDENT_95.len()) - 1];
        let reach = t * (unexplained / freedom as f64 / xx).sqrt();
        let line = Line {
            slope,
            slope_low: slope - reach,
            slope_high: slope + reach,
            intercept: mean_y - slope * mean_x,
            r_squared: if yy == 0.0 { 1.0 } else { (1.0 - unexplained / yy).clamp(0.0, 1.0) },
            points: points.len(),
            left_out,
        };
        let figures = [line.slope_low, line.slope_high, line.intercept, line.r_squared];
        figures.into_iter().all(f64::is_finite).then_some(line)
    }
}

/// The median of `values`; `None` if there are none.
pub fn median(values: &[f64]) -> Option<f64> {
    median_in_place(&mut values.to_vec())
}

/// The median, by selection. A bootstrap takes thousands of medians, and sorting is slower.
fn median_in_place(values: &mut [f64]) -> Option<f64> {
    let middle = values.len().checked_sub(1)? / 2;
    let even = values.len().is_multiple_of(2);
    let (_, lower, above) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = above.iter().copied().min_by(f64::total_cmp).filter(|_| even);
    Some(upper.map_or(*lower, |upper| (*lower + upper) / 2.0))
}

/// The value below which the share `q` of `sorted` lies, interpolated between two neighbours.
fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let at = q * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(below + (above - below) * at.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 80 rounds in four passes.
    const PASSES: &[usize] = &[20, 40, 60, 80];

    /// A number from about the normal distribution with mean 0 and standard deviation 1: the sum of
    /// 12 uniform numbers (Irwin and Hall).
    fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
        (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
    }

    /// Blocks of a server of the given speed. `common` has the disturbance of each block, which all
    /// servers of the block share. Each server adds noise of 4.5 %. Over 80 rounds, that noise
    /// gives an A/A interval of +-1.7 %, as slices of 20 ms do.
    fn blocks(speed: f64, common: &[f64], rng: &mut Xoshiro256PlusPlus) -> Vec<Option<f64>> {
        common.iter().map(|common| Some(speed * common * (0.045 * normal(rng)).exp())).collect()
    }

    /// The verdict of one simulated comparison of 80 rounds. The common disturbance of a block is
    /// +-30 %. `own` is the disturbance that each server has in each pass.
    fn simulated(speed: f64, own: f64, seed: u64) -> Verdict {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let common: Vec<f64> = (0..80).map(|_| (0.3 * normal(&mut rng)).exp()).collect();
        let mut server = |speed: f64| {
            let mut server = blocks(speed, &common, &mut rng);
            for pass in server.chunks_mut(20) {
                let factor = (own * normal(&mut rng)).exp();
                pass.iter_mut().flatten().for_each(|value| *value *= factor);
            }
            server
        };
        let (reference, control, other) = (server(1.0), server(1.0), server(speed));
        let ratio = Estimate::of_ratios(&other, &reference, PASSES, seed).unwrap();
        let floor = Estimate::of_ratios(&control, &reference, PASSES, seed).unwrap();
        Verdict::of(&ratio, Some(&floor), true)
    }

    #[test]
    fn equal_servers_are_told_apart_in_at_most_3_of_50_comparisons() {
        for own in [0.0, 0.05] {
            let told = |seed: &u64| simulated(1.0, own, *seed) != Verdict::NotDistinguishable;
            let wrong = (0..50).filter(told).count();
            assert!(wrong <= 3, "{wrong} of 50, passes differing by {own}");
        }
    }

    #[test]
    fn a_difference_of_5_percent_is_found_in_at_least_9_of_10_comparisons() {
        let found = (0..50).filter(|seed| simulated(0.95, 0.0, *seed) == Verdict::Slower).count();
        assert!(found >= 45, "found {found} of 50");
        let found = (0..50).filter(|seed| simulated(1.05, 0.0, *seed) == Verdict::Faster).count();
        assert!(found >= 45, "found {found} of 50");
    }

    #[test]
    fn an_interval_of_95_percent_holds_the_true_median_in_about_95_percent() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let holds = (0..100).filter(|_| {
            let values: Vec<f64> = (0..40).map(|_| 10.0 + normal(&mut rng)).collect();
            let estimate = Estimate::of(&[values], 1).unwrap();
            (estimate.low..=estimate.high).contains(&10.0)
        });
        let holds = holds.count();
        assert!((89..=100).contains(&holds), "{holds} of 100");
    }

    #[test]
    fn less_latency_is_faster() {
        let floor = Estimate { median: 1.0, low: 0.99, high: 1.02, blocks: 80 };
        let ratio = Estimate { median: 0.9, low: 0.88, high: 0.92, blocks: 80 };
        assert_eq!(Verdict::of(&ratio, Some(&floor), false), Verdict::Faster);
        assert_eq!(Verdict::of(&ratio, Some(&floor), true), Verdict::Slower);
    }

    #[test]
    fn nothing_is_claimed_below_the_noise_floor_or_without_one_or_from_few_blocks() {
        let floor = Estimate { median: 1.0, low: 0.9, high: 1.02, blocks: 80 };
        let ratio = Estimate { median: 1.05, low: 1.03, high: 1.07, blocks: 80 };
        assert_eq!(Verdict::of(&ratio, Some(&floor), true), Verdict::NotDistinguishable);
        assert_eq!(Verdict::of(&ratio, None, true), Verdict::NotDistinguishable);
        let floor = Estimate { low: 0.99, ..floor };
        assert_eq!(Verdict::of(&ratio, Some(&floor), true), Verdict::Faster);
        let ratio = Estimate { blocks: 5, ..ratio };
        assert_eq!(Verdict::of(&ratio, Some(&floor), true), Verdict::NotDistinguishable);
    }

    #[test]
    fn a_difference_that_one_pass_in_four_did_not_find_is_within_the_interval() {
        let reference = [Some(1.0); 80];
        let ours: Vec<_> = (0..80).map(|block| Some(if block < 20 { 0.9 } else { 1.1 })).collect();
        let low = |ends: &[usize]| Estimate::of_ratios(&ours, &reference, ends, 1).unwrap().low;
        assert_eq!(low(&[80]), 1.1);
        assert!(low(&[20, 40, 60, 80]) < 1.0);
    }

    #[test]
    fn blocks_belong_to_the_pass_that_they_were_measured_in() {
        let blocks = [Some(1.0), None, Some(2.0), Some(3.0)];
        assert_eq!(by_pass(&blocks, &[2, 4]), [vec![1.0], vec![2.0, 3.0]]);
        assert_eq!(by_pass(&blocks, &[0, 4]), [vec![], vec![1.0, 2.0, 3.0]]);
        assert_eq!(by_pass(&blocks[..1], &[1, 2]), [vec![1.0]]);
    }

    #[test]
    fn blocks_that_one_side_missed_do_not_count() {
        let ours = [Some(2.0), None, Some(2.0), Some(4.0)];
        let reference = [Some(1.0), Some(1.0), None, Some(2.0)];
        let ratio = Estimate::of_ratios(&ours, &reference, &[4], 0).unwrap();
        assert_eq!((ratio.median, ratio.blocks), (2.0, 2));
        assert_eq!(Estimate::of_ratios(&[None], &[Some(1.0)], &[1], 0), None);
    }

    #[test]
    fn a_line_has_a_slope_an_intercept_and_the_share_that_it_explains() {
        let line = Line::through(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 7.0)]).unwrap();
        assert_eq!((line.slope, line.intercept, line.r_squared), (2.0, 1.0, 1.0));
        assert_eq!((line.slope_low, line.slope_high, line.points), (2.0, 2.0, 4));
        let bent = Line::through(&[(0.0, 0.0), (1.0, 3.0), (2.0, 3.0), (3.0, 0.0)]).unwrap();
        assert_eq!((bent.slope, bent.r_squared), (0.0, 0.0));
        assert!(bent.slope_low < -2.0 && bent.slope_high > 2.0, "{bent:?}");
    }

    #[test]
    fn the_slope_of_a_textbook_example_has_the_textbook_interval() {
        // Worked by hand: slope 0.6, residual sum of squares 2.4, 3 degrees of freedom, so a
        // standard error of sqrt(0.8 / 10) = 0.2828, times 3.182.
        let points = [(1.0, 2.0), (2.0, 4.0), (3.0, 5.0), (4.0, 4.0), (5.0, 5.0)];
        let line = Line::through(&points).unwrap();
        let expected = [(line.slope, 0.6), (line.slope_low, -0.3), (line.slope_high, 1.5)];
        for (found, expected) in expected {
            assert!((found - expected).abs() < 0.001, "{line:?}");
        }
    }

    #[test]
    fn a_point_that_decides_the_slope_alone_is_left_out_of_the_line() {
        let law = |x: f64| 5.0 + 0.022 * x;
        let mut points: Vec<_> = [0.0, 300.0, 600.0, 900.0].map(|x| (x, law(x))).to_vec();
        points.push((10_000.0, 370.0));
        let line = Line::through(&points).unwrap();
        assert!((line.slope - 0.022).abs() < 1e-9 && (line.intercept - 5.0).abs() < 1e-6);
        assert_eq!((line.points, line.left_out.as_slice()), (4, [10_000.0].as_slice()));
    }

    #[test]
    fn too_few_points_of_moderate_leverage_give_no_line() {
        // Without 10 000, the leverage of 900 is 0.87; without 900, that of 400 is 0.96.
        let unequal = [0.0, 100.0, 400.0, 900.0, 10_000.0].map(|x| (x, x));
        assert_eq!(Line::through(&unequal), None);
        assert_eq!(Line::through(&[(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]), None);
        assert_eq!(Line::through(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0), (1.0, 4.0)]), None);
        assert_eq!(Line::through(&[]), None);
    }

    #[test]
    fn numbers_without_a_measure_give_no_line() {
        let good = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)];
        let with_one_bad = [good.as_slice(), &[(f64::NAN, 1.0), (4.0, f64::INFINITY)]].concat();
        assert_eq!(Line::through(&with_one_bad), Line::through(&good));
        assert_eq!(Line::through(&good.map(|(x, _)| (x * 1e308, f64::MAX))), None);
    }

    #[test]
    fn a_median_is_the_middle_one_or_between_the_middle_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
