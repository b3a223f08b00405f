//! The server's process, watched while a client waits for the server.

use std::time::{Duration, Instant};

use server_process::witness::Witness;

use crate::cause::Cause;
use crate::observe;

/// The longest time between a process closing its connections and its end.
pub(crate) const ENDING: Duration = Duration::from_millis(500);

/// How often a client that waits checks whether the server sleeps.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// When all threads of the server sleep for this part of the timeout, no answer can come.
const STALLED_SHARE: u32 = 5;

/// After an uncaught error, this part of that time is enough.
const RAISED_SHARE: u32 = 10;

/// Watches the process of a server, for the clients of this server. Cloning it is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    witness: Witness,
    /// The longest sleep of a server that will answer.
    stalled_after: Duration,
}

impl Watch {
    pub(crate) fn new(witness: Witness, timeout: Duration) -> Watch {
        Watch { witness, stalled_after: timeout / STALLED_SHARE }
    }

    /// Whether the server has slept for so long that no answer can come. The caller asks again and again
    /// while it waits, and keeps in `awake` when the server was last seen awake.
    pub(crate) fn has_stalled(&self, awake: &mut Instant) -> bool {
        if !self.is_asleep() {
            *awake = Instant::now();
        }
        let raised = || Cause::of_stderr(self.witness.stderr()).is_some();
        let asleep = awake.elapsed();
        asleep >= self.stalled_after || asleep >= self.stalled_after / RAISED_SHARE && raised()
    }

    /// Whether no thread of the server runs or could run. False when this is not known.
    pub(crate) fn is_asleep(&self) -> bool {
        observe::is_asleep(self.witness.pid()).unwrap_or(false)
    }

    /// The cause of a failure that a client or a case has just seen: the end of the server within
    /// `limit`, or an uncaught error that it has reported.
    ///
    /// The cause must be asked for before the case drops its clients. A server may end because they
    /// leave, and that end is no cause.
    pub(crate) fn cause(&self, limit: Duration) -> Option<Cause> {
        match self.witness.ended_within(limit) {
            Some(status) => {
                let (status, stderr) = (status.to_string(), self.witness.stderr());
                Some(Cause::Ended { status, stderr })
            }
            None => Cause::of_stderr(self.witness.stderr()),
        }
    }
}
