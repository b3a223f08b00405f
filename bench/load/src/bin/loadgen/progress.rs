//! The progress bar on stderr. There is none if stderr is not a terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use loadgen::{Control, Slice, Until};

/// Time between two updates. Each update takes CPU time from the load.
const REDRAW: Duration = Duration::from_millis(250);

/// A bar with a thread that updates it. Dropping the value removes the bar.
pub(crate) struct Progress {
    done: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Progress {
    pub(crate) fn start(slice: &Slice, control: &Arc<Control>) -> Progress {
        let done = Arc::new(AtomicBool::new(false));
        let total = match slice.until {
            Until::Elapsed(duration) => (slice.warmup + duration).as_millis() as u64,
            Until::Messages(count) => count,
        };
        let bar = ProgressBar::new(total); // indicatif hides it unless stderr is a terminal.
        if bar.is_hidden() {
            return Progress { done, thread: None };
        }
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3} % {msg}") {
            bar.set_style(style);
        }
        let (until, control) = (slice.until, Arc::clone(control));
        let finished = Arc::clone(&done);
        let update = move || {
            let (began, mut before) = (Instant::now(), control.answered());
            while !finished.load(Ordering::Relaxed) {
                thread::park_timeout(REDRAW);
                let answered = control.answered();
                bar.set_message(format!("{} messages/s", (answered - before) * 4));
                before = answered;
                bar.set_position(match until {
                    Until::Elapsed(_) => began.elapsed().as_millis() as u64,
                    Until::Messages(_) => answered,
                });
            }
            bar.finish_and_clear();
        };
        // A load without a bar is as good.
        Progress { done, thread: thread::Builder::new().spawn(update).ok() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
