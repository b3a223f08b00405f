//! How much time each part of a comparison takes.

use std::time::Duration;

use crate::scenario::SLICED_CONNECTIONS_MAX;
use crate::statistics::BLOCKS_MIN;

use super::args::Args;

/// How much time each part takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Rounds of slices.
    pub(super) rounds: usize,
    /// Randomised complete blocks.
    pub(super) blocks: usize,
    /// Passes over all scenarios that the rounds and blocks are divided among. A machine like these
    /// has bad minutes, in which everything is slower and even ratios shift: passes that lie minutes
    /// apart do not all fall into one.
    pub(super) passes: usize,
    /// Measured part of a run in a block.
    pub(super) run: Duration,
    /// Warm-up before it.
    pub(super) warm_up: Duration,
    /// The uninterrupted run in which switches and memory are counted, where servers run in slices.
    pub(super) cost_run: Duration,
    /// Messages of the run in which system calls are counted.
    pub(super) traced_messages: u64,
    /// The few points instead of all.
    pub(super) few_points: bool,
}

impl Effort {
    /// Randomised complete blocks under a load with so many connections: opening thousands takes
    /// longer than anything else.
    pub(super) fn blocks_with(&self, connections: usize) -> usize {
        if connections > SLICED_CONNECTIONS_MAX { self.blocks.min(BLOCKS_MIN) } else { self.blocks }
    }

    pub(super) fn of(args: &Args) -> Effort {
        let ms = Duration::from_millis;
        let (rounds, blocks, passes, run, warm_up, cost_run, traced_messages) = if args.test {
            // The first slice may be spent on what slow readers have sent.
            (4, 1, 1, ms(10), ms(5), ms(10), 20)
        } else if args.quick {
            (12, 6, 2, ms(100), ms(30), ms(60), 200)
        } else {
            (72, 8, 4, ms(350), ms(100), ms(120), 1000)
        };
        let (rounds, blocks) = match args.blocks.map(usize::from) {
            Some(given) => (given, given),
            None => (rounds, blocks),
        };
        Effort {
            rounds,
            blocks,
            passes: passes.min(rounds).min(blocks),
            run,
            warm_up,
            cost_run,
            traced_messages,
            few_points: args.quick || args.test,
        }
    }
}
