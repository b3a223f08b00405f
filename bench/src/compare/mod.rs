//! The comparison: every server through every scenario, in turns, with paired ratios and costs.

pub mod result;
