//! One run, with everything that is measured beside it.

use std::time::SystemTime;

use loadgen::{MachineMeter, MachineUse, Plan, Result, Sample, ServerSide, Session, Slice};

/// A run and its circumstances.
pub(crate) struct Measured {
    pub(crate) slice: Slice,
    pub(crate) sample: Sample,
    pub(crate) machine: MachineUse,
    /// The start of the measured time.
    pub(crate) started: SystemTime,
}

/// Runs one slice.
pub(crate) fn measure(
    session: &mut Session,
    slice: &Slice,
    plan: &Plan,
    side: &ServerSide,
) -> Result<Measured> {
    let started = SystemTime::now() + slice.warmup;
    let meter = MachineMeter::start(side, &plan.control);
    let sample = session.run(slice)?;
    Ok(Measured { slice: *slice, sample, machine: meter.stop(), started })
}
