//! The reach of a conclusion: where else it may be expected to hold.

use crate::results::Metric;

/// The reach of a conclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// A number of events or clients.
    Counted,
    /// A ratio of two CPU times.
    CpuRatio,
    /// A time or a rate.
    ThisMachine,
}

impl Reach {
    /// All, from the widest to the narrowest.
    pub(super) const ALL: [Reach; 3] = [Reach::Counted, Reach::CpuRatio, Reach::ThisMachine];

    /// The reach of a comparison on `metric`.
    pub(super) fn of(metric: Metric) -> Reach {
        match metric {
            Metric::ClientsServed => Reach::Counted,
            Metric::MessagesPerCpuSecond | Metric::CpuPerSecond => Reach::CpuRatio,
            Metric::MessagesPerSecond | Metric::BytesPerSecond | Metric::LatencyP50 => {
                Reach::ThisMachine
            }
        }
    }

    /// The reach in a word or two.
    pub(super) fn label(self) -> &'static str {
        match self {
            Reach::Counted => "counted",
            Reach::CpuRatio => "CPU ratio",
            Reach::ThisMachine => "this machine",
        }
    }

    /// What the label means.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Reach::Counted => {
                "A number of events or of clients. It depends on the kernel and the load. Where a \
                 server handles several messages at once, it depends on timing, too."
            }
            Reach::CpuRatio => {
                "A ratio of two CPU times on this machine. Another processor may give another \
                 ratio."
            }
            Reach::ThisMachine => {
                "A time, a rate, or a ratio of them. It holds for this machine and this load."
            }
        }
    }
}
