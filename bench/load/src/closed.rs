//! The closed loop: a message is sent when one has come back.
//!
//! It finds the capacity of a server. It does not find what users of a slow server wait for: while
//! the server stalls, the loop sends nothing, and so measures nothing. That is the open loop's.

use std::io;

use crate::engine::Engine;
use crate::latency::Stamp;
use crate::{Slice, Until};

/// Runs one slice.
pub(crate) fn run(engine: &mut Engine, slice: &Slice) -> io::Result<()> {
    let mut budget = match slice.until {
        Until::Elapsed(_) => u64::MAX,
        Until::Messages(count) => count,
    };
    engine.look_around()?;
    for index in 0..engine.count() {
        let messages = spend(&mut budget, engine.depth);
        let stamp = Stamp::at(engine.look());
        engine.send(index, stamp, messages);
    }
    let mut now = engine.tick();
    while budget > 0 && !engine.recorder.is_over(now) && !engine.is_dead() {
        for event in 0..engine.wait(engine.patience(engine.recorder.window_end()))? {
            if let Some((index, answered)) = engine.take_in(event) {
                let messages = spend(&mut budget, answered);
                engine.send(index, Stamp::at(engine.now()), messages);
            }
        }
        now = engine.tick();
    }
    engine.drain()
}

/// Takes up to `wanted` messages from the budget.
fn spend(budget: &mut u64, wanted: usize) -> usize {
    let granted = (*budget).min(wanted as u64);
    *budget -= granted;
    granted as usize
}
