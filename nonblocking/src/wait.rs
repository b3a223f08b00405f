//! What to do after a pass that found nothing to do.

use std::hint;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

/// Longest sleep: nothing ends it early, not even a request to stop.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// How to spend the time until the next pass.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// Ask again at once: the least latency, and a whole CPU.
    Spin,
    /// Let other threads run first (sched_yield(2)): a whole CPU, but only if no other thread wants it.
    Yield,
    /// Sleep: little CPU, and up to this time of additional latency.
    Sleep(Duration),
}

impl Wait {
    pub(crate) fn pass_time(self) {
        match self {
            Wait::Spin => hint::spin_loop(),
            Wait::Yield => thread::yield_now(),
            Wait::Sleep(time) => thread::sleep(time),
        }
    }
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Wait, String> {
        match text.split_once(':') {
            None if text == "spin" => Ok(Wait::Spin),
            None if text == "yield" => Ok(Wait::Yield),
            Some(("sleep", time)) => match echo::parse_duration(time)? {
                time if time <= SLEEP_MAX => Ok(Wait::Sleep(time)),
                _ => Err("longer than 100ms: a stop must be noticed".to_owned()),
            },
            _ => Err("use spin, yield, or sleep:DURATION such as sleep:50us".to_owned()),
        }
    }
}
