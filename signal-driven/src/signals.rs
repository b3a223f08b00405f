//! The system calls of the model: who sends signals (fcntl(2)), and how to take them
//! (sigtimedwait(2) or signalfd(2)). All of the crate's `unsafe` is here.

use std::ffi::{c_int, c_long};
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use clap::ValueEnum;
use nix::errno::Errno;
use nix::libc::{self, siginfo_t, signalfd_siginfo, sigset_t};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

/// Commands of fcntl(2) that libc does not name for every Linux: the values of asm-generic/fcntl.h.
const F_SETSIG: c_int = 10;
const F_SETOWN_EX: c_int = 15;

/// The owner that F_SETOWN_EX sets, which gets the signals: `struct f_owner_ex`.
///
/// It is the thread that has blocked them. F_SETOWN with a process would let the kernel choose any
/// thread that has not, and the default action would end the process. And with an owner for each
/// thread, several loops could have a queue each.
#[repr(C)]
struct Owner {
    kind: c_int,
    id: libc::pid_t,
}

/// Of [`Owner::kind`]: a thread, not a whole process.
const F_OWNER_TID: c_int = 0;

/// The most signals that one read of a signalfd takes.
const BATCH: usize = 64;

/// How to take signals.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Take {
    /// sigtimedwait(2): one signal for each call
    Sigtimedwait,
    /// signalfd(2): up to 64 signals for each read(2); a wait with a limit needs a ppoll(2) too
    Signalfd,
}

/// A signal that was taken.
#[derive(Clone, Copy)]
pub(crate) enum Signal {
    /// Something has happened to the socket `fd`, or to one that had this number before.
    Socket {
        /// The descriptor's number: si_fd.
        fd: RawFd,
        /// The band (si_band) says that there is something to read, and says nothing else.
        only_readable: bool,
    },
    /// The queue had no room, and signals were lost: any socket may have news.
    Overflow,
}

/// The signals of this thread's sockets.
pub(crate) struct Signals {
    number: c_int,
    owner: Owner,
    /// The real-time signal, and SIGIO.
    set: sigset_t,
    signalfd: Option<Batch>,
}

/// A signalfd, and the signals read from it that were not taken yet.
struct Batch {
    fd: OwnedFd,
    signals: Vec<signalfd_siginfo>,
    taken: usize,
}

/// What siginfo_t holds for a signal of a descriptor (sigaction(2)). libc has no names for it.
#[repr(C)]
struct SigPoll {
    signo: c_int,
    _errno: c_int,
    _code: c_int,
    band: c_long,
    fd: c_int,
}

impl Signals {
    /// Blocks the signals for the calling thread, which takes them with [`take`](Signals::take).
    /// Their default action would end the process.
    ///
    /// # Errors
    ///
    /// When no descriptor is left for the signalfd.
    pub(crate) fn new(take: Take) -> io::Result<Signals> {
        let number = libc::SIGRTMIN();
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset(3) initialises the set that it gets; the others get an initialised
        // set.
        let (set, blocked) = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            let mut set = set.assume_init();
            libc::sigaddset(&mut set, number);
            libc::sigaddset(&mut set, libc::SIGIO);
            (set, libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()))
        };
        if blocked != 0 {
            return Err(io::Error::from_raw_os_error(blocked));
        }
        let signalfd = match take {
            Take::Sigtimedwait => None,
            Take::Signalfd => Some(Batch::open(&set)?),
        };
        // SAFETY: gettid(2) takes nothing, and always succeeds.
        let owner = Owner { kind: F_OWNER_TID, id: unsafe { libc::gettid() } };
        Ok(Signals { number, owner, set, signalfd })
    }

    /// Makes `fd` non-blocking. From here on, each of its events sends a signal to the thread that
    /// called [`new`](Signals::new). Earlier events have sent none: ask the socket once.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory to remember it.
    pub(crate) fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let raw = fd.as_raw_fd();
        // SAFETY: the descriptor is open, and each command gets the argument that fcntl(2) says.
        unsafe {
            Errno::result(libc::fcntl(raw, F_SETSIG, self.number))?;
            Errno::result(libc::fcntl(raw, F_SETOWN_EX, &raw const self.owner))?;
            Errno::result(libc::fcntl(raw, libc::F_SETFL, libc::O_NONBLOCK | libc::O_ASYNC))?;
        }
        Ok(())
    }

    /// Takes the next signal. Sleeps until there is one, or for `wait`. `None` when the time is
    /// over, or when a handler ran for another signal.
    ///
    /// SIGIO comes before every real-time signal: the one with the lowest number is taken first.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory for the wait.
    pub(crate) fn take(&mut self, wait: Option<Duration>) -> io::Result<Option<Signal>> {
        let taken = match &mut self.signalfd {
            None => sigtimedwait(&self.set, wait),
            Some(batch) => batch.next(wait),
        };
        match taken {
            Ok(signal) => Ok(signal),
            // The time is over; or a handler came first.
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Throws away the real-time signals that are queued. After an overflow every socket is asked,
    /// and each of these signals would ask one again.
    ///
    /// # Errors
    ///
    /// Those of sigaction(2).
    pub(crate) fn discard(&mut self) -> io::Result<()> {
        if let Some(batch) = &mut self.signalfd {
            batch.taken = batch.signals.len();
        }
        for handler in [libc::SIG_IGN, libc::SIG_DFL] {
            // SAFETY: all zeroes are a valid action, and so are these two handlers. Ignoring a
            // signal throws away those that are pending, the blocked ones included (sigaction(3p)).
            unsafe {
                let mut action: libc::sigaction = mem::zeroed();
                action.sa_sigaction = handler;
                Errno::result(libc::sigaction(self.number, &action, ptr::null_mut()))?;
            }
        }
        Ok(())
    }
}

fn sigtimedwait(set: &sigset_t, wait: Option<Duration>) -> nix::Result<Option<Signal>> {
    let mut info = MaybeUninit::<siginfo_t>::zeroed();
    let wait = wait.map(TimeSpec::from);
    let wait = wait.as_ref().map_or(ptr::null(), |wait| ptr::from_ref(wait.as_ref()));
    // SAFETY: the set is initialised, and the kernel fills in `info`, of which SigPoll is the
    // beginning.
    let info = unsafe {
        Errno::result(libc::sigtimedwait(set, info.as_mut_ptr(), wait))?;
        &*info.as_ptr().cast::<SigPoll>()
    };
    Ok(Some(signal(info.signo, info.fd, info.band)))
}

impl Batch {
    fn open(set: &sigset_t) -> io::Result<Batch> {
        // SAFETY: the set is initialised, and the new descriptor belongs to nobody else.
        let fd = unsafe {
            OwnedFd::from_raw_fd(Errno::result(libc::signalfd(-1, set, libc::SFD_CLOEXEC))?)
        };
        Ok(Batch { fd, signals: Vec::with_capacity(BATCH), taken: 0 })
    }

    fn next(&mut self, wait: Option<Duration>) -> nix::Result<Option<Signal>> {
        if self.taken == self.signals.len() && !self.read(wait)? {
            return Ok(None);
        }
        let info = &self.signals[self.taken];
        self.taken += 1;
        Ok(Some(signal(info.ssi_signo as c_int, info.ssi_fd, info.ssi_band as c_long)))
    }

    /// Reads up to [`BATCH`] signals. Returns whether there was one.
    fn read(&mut self, wait: Option<Duration>) -> nix::Result<bool> {
        if let Some(wait) = wait {
            let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
            if ppoll(&mut fds, Some(TimeSpec::from(wait)), None)? == 0 {
                return Ok(false);
            }
        }
        self.signals.clear();
        self.taken = 0;
        let room = &mut self.signals.spare_capacity_mut()[..BATCH];
        // SAFETY: there is room for as many bytes, and the kernel fills in whole structures only.
        unsafe {
            let buffer = room.as_mut_ptr().cast();
            let read = libc::read(self.fd.as_raw_fd(), buffer, mem::size_of_val(room));
            let bytes = Errno::result(read)?.cast_unsigned();
            self.signals.set_len(bytes / size_of::<signalfd_siginfo>());
        }
        Ok(!self.signals.is_empty())
    }
}

/// What the kernel says with a signal.
///
/// Every SIGIO counts as an overflow, even one that kill(2) has sent: while it is pending, the
/// kernel queues no second SIGIO, so it may stand for both.
fn signal(number: c_int, fd: RawFd, band: c_long) -> Signal {
    if number == libc::SIGIO {
        return Signal::Overflow;
    }
    let readable = c_long::from(libc::POLLIN | libc::POLLRDNORM);
    Signal::Socket { fd, only_readable: band == readable }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// One test: a discard is for all threads of the process.
    #[test]
    fn signals_name_the_descriptor_and_are_thrown_away_by_a_discard() -> io::Result<()> {
        for take in [Take::Sigtimedwait, Take::Signalfd] {
            let mut signals = Signals::new(take)?;
            let (watched, mut peer) = UnixStream::pair()?;
            peer.write_all(b"before")?;
            signals.watch(watched.as_fd())?;
            let at_once = Some(Duration::ZERO);
            assert!(signals.take(at_once)?.is_none());

            peer.write_all(b"after")?;
            let here = watched.as_raw_fd();
            let named =
                |signal| matches!(signal, Signal::Socket { fd, only_readable: true } if fd == here);
            assert!(signals.take(None)?.is_some_and(named));
            assert!(signals.take(at_once)?.is_none());

            // More than one read of a signalfd takes: some are read, some are queued.
            for _ in 0..2 * BATCH {
                peer.write_all(b"more")?;
            }
            assert!(signals.take(at_once)?.is_some_and(named));
            signals.discard()?;
            assert!(signals.take(at_once)?.is_none());
            drop(peer);
            let hung_up = |signal| matches!(signal, Signal::Socket { only_readable: false, .. });
            assert!(signals.take(None)?.is_some_and(hung_up));
        }
        Ok(())
    }
}
