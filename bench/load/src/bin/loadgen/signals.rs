//! SIGINT and SIGTERM: the first one ends a run early, and the run is still reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use loadgen::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The handlers of this process.
pub(crate) struct Signals {
    /// Whether the next signal ends the process.
    armed: Arc<AtomicBool>,
    /// The last signal; 0 before the first.
    caught: Arc<AtomicUsize>,
}

impl Signals {
    /// Installs the handlers. A signal sets `stop`, and until [`Signals::hold`] it ends the process.
    ///
    /// A shell script starts its background jobs with SIGINT ignored. The handlers replace that.
    ///
    /// # Errors
    ///
    /// [`Error::Generator`] if the system refuses a handler.
    pub(crate) fn install(stop: &Arc<AtomicBool>) -> Result<Signals> {
        let signals = Signals { armed: Arc::new(AtomicBool::new(true)), caught: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            let Signals { armed, caught } = &signals;
            // The actions of a signal run in the order of their registration.
            flag::register_conditional_default(signal, Arc::clone(armed))
                .and_then(|_| flag::register_usize(signal, Arc::clone(caught), signal as usize))
                .and_then(|_| flag::register(signal, Arc::clone(stop)))
                .and_then(|_| flag::register(signal, Arc::clone(armed)))
                .map_err(Error::generator("sigaction(2)"))?;
        }
        Ok(signals)
    }

    /// Lets the next signal end the run, and the one after it the process.
    pub(crate) fn hold(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    /// The signal that ended the run.
    pub(crate) fn caught(&self) -> Option<u8> {
        let signal = self.caught.load(Ordering::Relaxed);
        u8::try_from(signal).ok().filter(|signal| *signal > 0)
    }
}
