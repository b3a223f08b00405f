//! The objects that are called back.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;

use crate::{Context, Event, Interest};

/// An object that the reactor calls back: when its descriptor is ready, its timer is due, or
/// somebody has woken it. `T` is what all handlers of one reactor share.
///
/// A handler owns its descriptor and never blocks. Each call returns what the handler wants next,
/// and only the reactor acts on it. An error or a panic closes this handler and no other.
///
/// ```
/// use std::io;
/// use std::time::{Duration, Instant};
/// use epoll_selector::{Context, Handler, Mio, Next, Reactor, Selector, Trigger};
///
/// /// Counts down, one step each millisecond.
/// struct Countdown(u32);
///
/// impl Handler<Vec<u32>> for Countdown {
///     fn added(&mut self, context: &mut Context<'_, Vec<u32>>) -> io::Result<Next> {
///         context.timer(Some(Instant::now() + Duration::from_millis(1)));
///         Ok(Next::Keep)
///     }
///
///     fn timeout(&mut self, context: &mut Context<'_, Vec<u32>>) -> io::Result<Next> {
///         context.shared.push(self.0);
///         if self.0 == 0 {
///             return Ok(Next::Close);
///         }
///         self.0 -= 1;
///         self.added(context)
///     }
/// }
///
/// let mut reactor = Reactor::new(Mio::new(Trigger::Edge)?, Vec::new());
/// reactor.add(Countdown(2));
/// assert_eq!(reactor.run()?, [2, 1, 0]);
/// # Ok::<(), io::Error>(())
/// ```
pub trait Handler<T> {
    /// The descriptor to watch, the same for as long as the handler lives. None: a timer, a
    /// mailbox, or anything else that is only woken.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The handler starts. This is the first call, and `context` has its token.
    ///
    /// By default the handler waits until its descriptor is readable.
    ///
    /// # Errors
    ///
    /// Any error closes the handler.
    fn added(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        let _ = context;
        Ok(Next::Wait(Interest::READ))
    }

    /// The descriptor may be ready, as `event` says; or the handler returned [`Next::Again`], and
    /// then `event` allows everything.
    ///
    /// # Errors
    ///
    /// Any error closes the handler. The default is an error: a handler with a descriptor needs
    /// this method.
    fn ready(&mut self, event: Event, context: &mut Context<'_, T>) -> io::Result<Next> {
        let _ = (event, context);
        Err(io::Error::new(ErrorKind::Unsupported, "the handler has no method `ready`"))
    }

    /// [`Context::wake`] was called with this handler's token. This says nothing about the
    /// descriptor. Several wakes before this call are one.
    ///
    /// # Errors
    ///
    /// Any error closes the handler.
    fn woken(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        let _ = context;
        Ok(Next::Keep)
    }

    /// The time set with [`Context::timer`] has come. The timer is unset now.
    ///
    /// # Errors
    ///
    /// Any error closes the handler.
    fn timeout(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        let _ = context;
        Ok(Next::Keep)
    }

    /// The reactor was asked to stop. Finish what is pending, then close; the reactor waits for
    /// that until its deadline. By default the handler closes at once.
    ///
    /// # Errors
    ///
    /// Any error closes the handler.
    fn stop(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        let _ = context;
        Ok(Next::Close)
    }

    /// The selector has refused what [`Next::Wait`] asked for: the interest is as it was before. A
    /// handler that can try again later sets its timer and returns `Ok`.
    ///
    /// # Errors
    ///
    /// Any error closes the handler with [`End::Refused`]. The default returns `error`.
    fn refused(&mut self, error: io::Error, context: &mut Context<'_, T>) -> io::Result<()> {
        let _ = context;
        Err(error)
    }

    /// The handler has ended, and `why`. This is the last call, and it happens once. The reactor
    /// drops the handler next, which closes the descriptor.
    fn closed(&mut self, why: End, context: &mut Context<'_, T>) {
        let _ = (why, context);
    }
}

/// What a handler wants next. Shown at [`Handler`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To wait until the descriptor is ready. With [`Interest::NONE`] only a wake or the timer
    /// calls.
    Wait(Interest),
    /// To wait for the same as before.
    Keep,
    /// To have [`Handler::ready`] called in the next turn, after the others: there may be more to
    /// do now.
    Again,
    /// To end: the reactor takes the descriptor out of the selector and drops the handler.
    Close,
}

/// Why a handler has ended.
///
/// ```
/// use std::io::ErrorKind;
/// use epoll_selector::End;
///
/// assert!(End::Done.into_result().is_ok());
/// assert_eq!(End::CutOff.into_result().unwrap_err().kind(), ErrorKind::TimedOut);
/// ```
#[derive(Debug)]
pub enum End {
    /// The handler returned [`Next::Close`], or [`Context::close`] was called with its token.
    Done,
    /// A method of the handler returned this error.
    Failed(io::Error),
    /// The selector did not take the descriptor.
    Refused(io::Error),
    /// A method of the handler panicked. The panic hook has reported the panic.
    Panicked,
    /// The reactor has ended first: a stop's time was over, or the reactor itself has failed.
    CutOff,
}

impl End {
    /// The end as a result, for a log or a tally: `Ok` if the handler ended by itself.
    ///
    /// # Errors
    ///
    /// Every other end. [`End::CutOff`] becomes [`ErrorKind::TimedOut`].
    pub fn into_result(self) -> io::Result<()> {
        match self {
            End::Done => Ok(()),
            End::Failed(error) | End::Refused(error) => Err(error),
            End::Panicked => Err(io::Error::other("the handler panicked")),
            End::CutOff => {
                Err(io::Error::new(ErrorKind::TimedOut, "cut off by the end of the stop"))
            }
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Done => f.write_str("done"),
            End::Failed(error) => write!(f, "failed: {error}"),
            End::Refused(error) => write!(f, "refused by the selector: {error}"),
            End::Panicked => f.write_str("panicked"),
            End::CutOff => f.write_str("cut off"),
        }
    }
}
