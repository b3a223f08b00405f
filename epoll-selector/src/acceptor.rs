//! The listener's handler: accepts in batches, and pauses when the server is full.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use echo::{ACCEPT_PAUSE, ACCEPTS_PER_TURN, Accepted, Listener};
use socket2::Socket;

use crate::{Context, End, Event, Handler, Interest, Next};

/// Accepts clients, and adds the handler that a closure makes of each stream.
///
/// The acceptor pauses at `--max-connections`, and when the process or the system has no descriptor
/// or memory left. A client that leaves wakes it. Clients that it does not accept wait in the
/// backlog.
///
/// ```
/// use std::io::{self, Read, Write};
/// use std::net::TcpStream;
/// use epoll_selector::{
///     Acceptor, Context, Conversation, End, Mio, Protocol, Reactor, Selector, Talk, Trigger,
///     Until,
/// };
///
/// /// Answers each line in upper case, and counts the lines of all clients.
/// struct Upper;
///
/// impl Protocol<u64> for Upper {
///     fn message(&mut self, line: &[u8], talk: &mut Talk<'_, u64>) -> io::Result<()> {
///         *talk.context.shared += 1;
///         talk.push(line.to_ascii_uppercase());
///         talk.push(b"\n");
///         Ok(())
///     }
/// #   fn ended(&mut self, _: End, context: &mut Context<'_, u64>) {
/// #       context.stop(std::time::Duration::ZERO);
/// #   }
/// }
///
/// # #[derive(clap::Parser)]
/// # struct Args { #[command(flatten)] options: echo::Options }
/// # let options = <Args as clap::Parser>::parse_from(["", "--addr", "127.0.0.1:0"]).options;
/// let mut listener = echo::listen(&options, options.max_connections(usize::MAX)?)?;
/// listener.set_nonblocking()?;
/// # let addr = socket2::SockRef::from(&listener).local_addr()?.as_socket().unwrap();
/// let mut reactor = Reactor::new(Mio::new(Trigger::Edge)?, 0);
/// reactor.add(Acceptor::new(listener, |stream, _: &mut Context<'_, u64>| {
///     Some(Conversation::new(stream, Upper).until(Until::Bytes(b"\n")).longest(1000))
/// }));
/// # let client = std::thread::spawn(move || {
/// #     let mut client = TcpStream::connect(addr).unwrap();
/// #     client.write_all(b"hello\nworld\n").unwrap();
/// #     client.shutdown(std::net::Shutdown::Write).unwrap();
/// #     let mut answer = String::new();
/// #     client.read_to_string(&mut answer).unwrap();
/// #     answer
/// # });
/// let lines = reactor.run()?;
/// # assert_eq!(lines, 2);
/// # assert_eq!(client.join().unwrap(), "HELLO\nWORLD\n");
/// # Ok::<(), echo::Error>(())
/// ```
pub struct Acceptor<F> {
    listener: Listener,
    make: F,
    interest: Interest,
    seats: Rc<Seats>,
    /// Other loops accept too: a seat may become free that this loop does not hear of.
    shares_seats: bool,
}

/// The clients connected, and who waits for one of them to leave.
struct Seats {
    taken: Arc<AtomicUsize>,
    /// The acceptor, while it is paused.
    waiting: Cell<Option<crate::Token>>,
}

impl<F> Acceptor<F> {
    /// An acceptor on a non-blocking listener. `make` returns the client's handler, or `None` to
    /// turn the client away. A panic in `make` costs that client its connection, and no more.
    pub fn new<T, H: Handler<T> + 'static>(listener: Listener, make: F) -> Acceptor<F>
    where
        F: FnMut(Socket, &mut Context<'_, T>) -> Option<H>,
    {
        let seats = Seats { taken: Arc::default(), waiting: Cell::new(None) };
        let (interest, seats) = (Interest::READ, Rc::new(seats));
        Acceptor { listener, make, interest, seats, shares_seats: false }
    }

    /// Several loops accept, and count their clients together in `taken`. With `exclusive` the
    /// kernel wakes only one of them for each client ([`Interest::EXCLUSIVE`]).
    #[must_use]
    pub fn shared(mut self, taken: Arc<AtomicUsize>, exclusive: bool) -> Acceptor<F> {
        self.seats = Rc::new(Seats { taken, waiting: Cell::new(None) });
        self.shares_seats = true;
        self.interest = if exclusive { Interest::EXCLUSIVE } else { Interest::READ };
        self
    }

    fn accept<T, H: Handler<T> + 'static>(&mut self, context: &mut Context<'_, T>) -> Next
    where
        F: FnMut(Socket, &mut Context<'_, T>) -> Option<H>,
    {
        for _ in 0..ACCEPTS_PER_TURN {
            // Taken first, and given back if nobody comes: other loops take seats too.
            let active = self.seats.taken.fetch_add(1, Ordering::Relaxed);
            let seat = Seat(Rc::clone(&self.seats));
            match self.listener.accept(active) {
                Ok(Accepted::Client(stream)) => {
                    let made = catch_unwind(AssertUnwindSafe(|| (self.make)(stream, context)));
                    if let Ok(Some(handler)) = made {
                        context.add(Guest { handler, seat });
                    }
                }
                Ok(Accepted::Nobody) => return Next::Wait(self.interest),
                Ok(Accepted::Full) => {
                    self.pause(context);
                    return Next::Wait(Interest::NONE);
                }
                Err(error) => {
                    context.fail(error);
                    return Next::Close;
                }
            }
        }
        Next::Again
    }

    /// Full, or out of descriptors. The listener is ready and must not be watched: a
    /// level-triggered selector would report it on every wait, and an edge-triggered one never
    /// again.
    fn pause<T>(&mut self, context: &mut Context<'_, T>) {
        self.seats.waiting.set(Some(context.token()));
        let pause = self.listener.pause_left().or(self.shares_seats.then_some(ACCEPT_PAUSE));
        context.timer(pause.map(|pause| Instant::now() + pause));
    }
}

impl<T, F, H> Handler<T> for Acceptor<F>
where
    F: FnMut(Socket, &mut Context<'_, T>) -> Option<H>,
    H: Handler<T> + 'static,
{
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.listener.as_fd())
    }

    fn added(&mut self, _: &mut Context<'_, T>) -> io::Result<Next> {
        Ok(Next::Wait(self.interest))
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, T>) -> io::Result<Next> {
        Ok(self.accept(context))
    }

    /// A client has left.
    fn woken(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        Ok(self.accept(context))
    }

    fn timeout(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        Ok(self.accept(context))
    }

    /// The kernel has no memory to watch the listener: pauses and tries again.
    fn refused(&mut self, error: io::Error, context: &mut Context<'_, T>) -> io::Result<()> {
        let active = self.seats.taken.load(Ordering::Relaxed);
        match self.listener.pause_after(error, active) {
            Ok(()) => self.pause(context),
            Err(error) => context.fail(error),
        }
        Ok(())
    }
}

/// One client's place among those connected. Dropping it gives the place back.
struct Seat(Rc<Seats>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client's handler with its seat: everything goes to the handler, and its end wakes the
/// acceptor.
struct Guest<H> {
    handler: H,
    seat: Seat,
}

impl<T, H: Handler<T>> Handler<T> for Guest<H> {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.handler.fd()
    }

    fn added(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        self.handler.added(context)
    }

    fn ready(&mut self, event: Event, context: &mut Context<'_, T>) -> io::Result<Next> {
        self.handler.ready(event, context)
    }

    fn woken(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        self.handler.woken(context)
    }

    fn timeout(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        self.handler.timeout(context)
    }

    fn stop(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        self.handler.stop(context)
    }

    fn refused(&mut self, error: io::Error, context: &mut Context<'_, T>) -> io::Result<()> {
        self.handler.refused(error, context)
    }

    fn closed(&mut self, why: End, context: &mut Context<'_, T>) {
        // The acceptor is called later in this turn, when the descriptor and the seat are free.
        if let Some(acceptor) = self.seat.0.waiting.take() {
            context.wake(acceptor);
        }
        self.handler.closed(why, context);
    }
}
