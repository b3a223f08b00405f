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
    /// Passes over all scenarios; the rounds and blocks are divided among the passes. A shared
    /// machine has bad minutes, in which every server is slower and even ratios shift. The passes
    /// are minutes apart, so a bad minute does not affect all of them.
    pub(super) passes: usize,
    /// Measured part of a run in a block.
    pub(super) run: Duration,
    /// Warm-up before the measured part.
    pub(super) warm_up: Duration,
    /// Where servers run in slices: the uninterrupted run that counts switches and measures memory.
    pub(super) cost_run: Duration,
    /// Messages of the run that counts system calls.
    pub(super) traced_messages: u64,
    /// Whether to measure the short list of points instead of all points.
    pub(super) few_points: bool,
}

impl Effort {
    /// Returns the number of randomised complete blocks for a load with this many connections. With
    /// thousands of connections, opening them takes most of the time, so the blocks are fewer.
    pub(super) fn blocks_with(&self, connections: usize) -> usize {
        if connections > SLICED_CONNECTIONS_MAX { self.blocks.min(BLOCKS_MIN) } else { self.blocks }
    }

    /// Returns the effort that the command line asks for.
    pub(super) fn of(args: &Args) -> Effort {
        let ms = Duration::from_millis;
        let (rounds, blocks, passes, run, warm_up, cost_run, traced_messages) = if args.test {
            // The first slice may pass while the server handles what slow readers have sent.
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
