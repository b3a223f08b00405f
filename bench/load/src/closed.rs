//! The closed loop: a connection sends its next message when one has come back.
//!
//! A closed loop finds the capacity of a server. It does not find the waiting time of users: while
//! the server stalls, the loop sends nothing and measures nothing. The open loop measures that.

use crate::engine::Engine;
use crate::latency::Stamp;
use crate::{Result, Slice, Until};

/// Runs one slice.
pub(crate) fn run(engine: &mut Engine, slice: &Slice) -> Result<()> {
    let mut budget = match slice.until {
        Until::Elapsed(_) => u64::MAX,
        Until::Messages(count) => count,
    };
    engine.check_silence()?;
    for index in 0..engine.count() {
        let messages = spend(&mut budget, engine.depth);
        let stamp = Stamp::at(engine.read_clock());
        engine.send(index, stamp, messages);
    }
    let mut now = engine.tick();
    while budget > 0 && !engine.recorder.is_over(now) && !engine.is_dead() {
        for event in 0..engine.wait(engine.timeout_until(engine.recorder.window_end()))? {
            if let Some((index, answered)) = engine.handle(event) {
                let messages = spend(&mut budget, answered);
                engine.send(index, Stamp::at(engine.now()), messages);
            }
        }
        now = engine.tick();
    }
    engine.drain()
}

/// Takes up to `wanted` messages from the budget, and returns their number.
fn spend(budget: &mut u64, wanted: usize) -> usize {
    let granted = (*budget).min(wanted as u64);
    *budget -= granted;
    granted as usize
}
