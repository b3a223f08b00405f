//! The server's process, watched while a client waits for the server.

use std::time::Duration;

use server_process::witness::Witness;

use crate::cause::Cause;
use crate::observe;

/// The longest time between a process closing its connections and its end.
pub(crate) const ENDING: Duration = Duration::from_millis(500);

/// How often a client that waits looks whether the server sleeps.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// When all threads of the server sleep for this part of the timeout, no answer can come.
const STALLED_SHARE: u32 = 5;

/// The least of this time. A kernel repeats a packet that was dropped after 200 ms, and again after 400 ms:
/// the server may sleep meanwhile.
const STALLED_MIN: Duration = Duration::from_secs(1);

/// After an uncaught error, this part of that time is enough.
const RAISED_SHARE: u32 = 5;

/// Watches the process of a server, for the clients of this server. Cloning it is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    witness: Witness,
    /// The looks in a row at a sleeping server after which it has stalled.
    looks: u32,
}

/// Finds out during one wait whether the server has stalled: whether all its threads sleep for so long
/// that no answer can come.
///
/// It counts looks, not time. On a busy machine the client itself may wait for a CPU, and the time that
/// passes then says nothing about the server.
#[derive(Debug)]
pub(crate) struct Stall<'a> {
    watch: &'a Watch,
    asleep: u32,
}

impl Watch {
    pub(crate) fn new(witness: Witness, timeout: Duration) -> Watch {
        let longest = (timeout / STALLED_SHARE).max(STALLED_MIN);
        let looks = longest.as_millis() / LOOK_INTERVAL.as_millis();
        Watch { witness, looks: u32::try_from(looks).unwrap_or(u32::MAX) }
    }

    /// Begins to look whether the server has stalled.
    pub(crate) fn stall(&self) -> Stall<'_> {
        Stall { watch: self, asleep: 0 }
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

impl Stall<'_> {
    /// Looks at the server, and returns whether it has stalled. The caller looks once in
    /// [`LOOK_INTERVAL`] while it waits.
    pub(crate) fn look(&mut self) -> bool {
        if !self.watch.is_asleep() {
            self.asleep = 0;
            return false;
        }
        self.asleep += 1;
        let raised = || Cause::of_stderr(self.watch.witness.stderr()).is_some();
        let looks = self.watch.looks;
        self.asleep >= looks || self.asleep >= looks / RAISED_SHARE && raised()
    }
}
