//! Statistics over blocks: medians, intervals, verdicts, and the straight line.
//!
//! A block is a round in which every server had its turn. Requests are not independent of one
//! another (one preemption delays a hundred of them), so nothing here is ever fed with requests.
//! Blocks are the unit, and passes, groups of blocks that lie apart in time, are the unit above it.
//! Where passes differ much, four of them are few: the interval is then narrower than its 95 %
//! promise, about as one over 85 %. That a difference must also lie beyond what the A/A control's
//! interval reaches makes up for it; a test below tries.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// Resamples of a bootstrap: enough for the ends of a 95 % interval to be stable in the third
/// digit.
const RESAMPLES: usize = 1000;

/// Fewer blocks than this give no verdict. With 6, all lying on one side of 1 has a probability of
/// 2 · 2⁻⁶ = 3 % by chance alone; with 5 it is 6 %, more than an interval of 95 % may be wrong.
pub const BLOCKS_MIN: usize = 6;

/// A median and the interval that holds the true one with a probability of about 95 %.
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

/// What may be said of a server against the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better on the metric compared, by more than chance and the noise floor explain.
    Faster,
    /// Worse, likewise.
    Slower,
    /// The data do not say.
    NotDistinguishable,
}

impl Estimate {
    /// The median of the values of all passes, with a percentile-bootstrap interval (B. Efron, 1979);
    /// `None` when there are no values. The same `seed` gives the same interval.
    ///
    /// Passes are resampled first, and then the blocks of each. The blocks of one pass were measured
    /// within the same minutes and share what was peculiar to them, which resampling blocks alone
    /// would not see: a difference that one pass in four did not find is within the interval.
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

    /// The ratio `ours[i] / reference[i]` over the blocks in which both were measured; `None` when
    /// there is no such block. A block's common disturbance cancels out of it. `ends` has the number
    /// of blocks at the end of each pass.
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

    /// Half the width of the interval, relative to the median.
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.median
    }

    /// Of a ratio: the farthest that its interval strays from 1, as a factor of at least 1.
    pub fn strays(&self) -> f64 {
        let factor = |ratio: f64| if ratio < 1.0 { 1.0 / ratio } else { ratio };
        factor(self.low).max(factor(self.high))
    }
}

impl Verdict {
    /// In words.
    pub fn label(self) -> &'static str {
        match self {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::NotDistinguishable => "not distinguishable",
        }
    }

    /// Judges the ratio of a server to the reference. A difference is claimed when the interval of
    /// `ratio` excludes 1 *and* its median lies beyond everything that the A/A control's interval
    /// reaches; with fewer than [`BLOCKS_MIN`] blocks, or without a control, none is.
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

/// What was measured in the blocks of each pass. `ends` has the number of blocks at the end of each.
pub fn by_pass(blocks: &[Option<f64>], ends: &[usize]) -> Vec<Vec<f64>> {
    let starts = [0].into_iter().chain(ends.iter().copied());
    let passes = starts.zip(ends).filter_map(|(start, end)| blocks.get(start..*end));
    passes.map(|pass| pass.iter().flatten().copied().collect()).collect()
}

/// A straight line through points, by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Growth of y per unit of x.
    pub slope: f64,
    /// y at x = 0.
    pub intercept: f64,
    /// Share of the variation of y that the line explains, 0 to 1; 1 when y does not vary.
    pub r_squared: f64,
}

impl Line {
    /// The line through `points` of (x, y); `None` with fewer than two different x.
    pub fn through(points: &[(f64, f64)]) -> Option<Line> {
        let count = points.len() as f64;
        let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
        let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
            points.iter().map(|(x, y)| term(x - mean_x, y - mean_y)).sum()
        };
        let xx = sum(&|x, _| x * x);
        if points.is_empty() || xx == 0.0 {
            return None;
        }
        let slope = sum(&|x, y| x * y) / xx;
        let yy = sum(&|_, y| y * y);
        let unexplained = sum(&|x, y| (y - slope * x).powi(2));
        let r_squared = if yy == 0.0 { 1.0 } else { (1.0 - unexplained / yy).clamp(0.0, 1.0) };
        Some(Line { slope, intercept: mean_y - slope * mean_x, r_squared })
    }
}

/// The median; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    median_in_place(&mut values.to_vec())
}

/// The median, by selection instead of sorting: a bootstrap takes thousands of them.
fn median_in_place(values: &mut [f64]) -> Option<f64> {
    let middle = values.len().checked_sub(1)? / 2;
    let even = values.len().is_multiple_of(2);
    let (_, lower, above) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = above.iter().copied().min_by(f64::total_cmp).filter(|_| even);
    Some(upper.map_or(*lower, |upper| (*lower + upper) / 2.0))
}

/// The value below which the share `q` of `sorted` lies, interpolated between neighbours.
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

    /// About normally distributed around 0 with a standard deviation of 1 (Irwin and Hall's sum of
    /// 12).
    fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
        (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
    }

    /// Blocks of a server of the given speed: each block's own disturbance, which is common to all
    /// the servers of the block, and noise of 4.5 % of the server's own, which over 80 rounds makes
    /// the A/A interval of +-1.7 % that fine slices reach.
    fn blocks(speed: f64, common: &[f64], rng: &mut Xoshiro256PlusPlus) -> Vec<Option<f64>> {
        common.iter().map(|common| Some(speed * common * (0.045 * normal(rng)).exp())).collect()
    }

    /// The verdict of one simulated comparison of 80 rounds, the common disturbance being +-30 %, and
    /// what each server has of its own in each pass so much.
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
    fn an_interval_of_95_percent_holds_the_true_median_about_so_often() {
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
    fn a_line_is_found_with_its_slope_and_what_it_explains() {
        let line = Line::through(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]).unwrap();
        assert_eq!((line.slope, line.intercept, line.r_squared), (2.0, 1.0, 1.0));
        let bent = Line::through(&[(0.0, 0.0), (1.0, 3.0), (2.0, 0.0)]).unwrap();
        assert_eq!((bent.slope, bent.r_squared), (0.0, 0.0));
        assert_eq!(Line::through(&[(1.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(Line::through(&[]), None);
    }

    #[test]
    fn a_median_is_the_middle_one_or_between_the_middle_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
