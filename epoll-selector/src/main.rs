//! # epoll-selector: the kernel keeps the list, and a loop calls back who is ready
//!
//! **What blocks, and where.** Only epoll_wait(2), in [`Reactor::run`]; every socket is non-blocking.
//!
//! **What the kernel tells us.** Which sockets *became* ready since we last asked (edge-triggered), and
//! the [`Token`] we gave for each. It remembers the question: an interest is told it once.
//!
//! **What it costs.** Three system calls for a message: epoll_wait, read, write; the wait is shared by
//! all that are ready. A connected client that is silent costs an entry in a table and nothing else, so
//! the cost of a message does not grow with their number.
//!
//! **How it differs from the model before.** `select` hands the whole set over on every turn, and walks
//! it to find who is ready. Here the set stays in the kernel, and only who is ready comes back, with the
//! handler to call.
//!
//! ```console
//! $ cargo run --release -p epoll-selector
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! Three handlers make the server: [`Acceptor`], [`Client`], and [`Stopper`].
#![forbid(unsafe_code)]

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use echo::{
    ACCEPTS_PER_TURN, Connection, IdleClock, Listener, Options, Scratch, Stop, Tally, Totals, Wants,
};
use epoll_selector::{
    Context, Event, Handler, Interest, Mio, Next, Polling, Reactor, Selector, Token, Trigger,
};
use socket2::Socket;

/// Bytes that a client may have echoed before the others get their turn.
const TURN_BYTES: usize = 4 * echo::SCRATCH_BYTES;

/// TCP echo server: a reactor on epoll calls back who is ready.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// The crate that asks the kernel
    #[arg(long, value_enum, default_value_t = SelectorName::Mio)]
    selector: SelectorName,

    /// When the kernel reports that a socket is ready
    #[arg(long, value_enum, default_value_t = TriggerName::Edge)]
    trigger: TriggerName,
}

#[derive(Clone, Copy, ValueEnum)]
enum SelectorName {
    /// mio: edge-triggered, one system call for each wait
    Mio,
    /// polling: every trigger, five system calls for each wait
    Polling,
}

#[derive(Clone, Copy, ValueEnum)]
enum TriggerName {
    /// On every wait for as long as it is ready
    Level,
    /// Once, when it becomes ready
    Edge,
    /// Once, and not again before it is asked for again
    Oneshot,
}

fn main() -> ExitCode {
    let args = Args::parse();
    echo::finish(match args.selector {
        SelectorName::Mio => serve::<Mio>(&args),
        SelectorName::Polling => serve::<Polling>(&args),
    })
}

fn serve<S: Selector>(args: &Args) -> io::Result<Totals> {
    let options = &args.options;
    let stop = Stop::new()?;
    let selector = S::new(args.trigger.into())?;
    let mut listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    listener.set_nonblocking()?;
    let shared = Shared {
        scratch: Scratch::new(options),
        tally: Tally::new(options),
        active: 0,
        waits_for_a_place: None,
        idle_tick: IdleClock::new(options).interval(),
    };
    let mut reactor = Reactor::new(selector, shared);
    reactor.add(Box::new(Stopper { stop, drain: options.drain }), Interest::READ)?;
    reactor.add(Box::new(Acceptor { listener }), Interest::READ)?;
    Ok(reactor.run()?.tally.totals())
}

/// What the handlers share.
struct Shared {
    scratch: Scratch,
    tally: Tally,
    /// Clients connected.
    active: usize,
    /// The acceptor, while it does not accept: to be woken when a client leaves.
    waits_for_a_place: Option<Token>,
    /// Time between two ticks of a client's idle clock, if there is one.
    idle_tick: Option<Duration>,
}

/// The listener's handler: makes a [`Client`] of each stream.
struct Acceptor {
    listener: Listener,
}

impl Handler<Shared> for Acceptor {
    fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, Shared>) -> Next {
        self.listener.resume();
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listener.accept(context.shared.active) {
                Ok(Some(stream)) => {
                    context.shared.active += 1;
                    context.shared.tally.opened(&stream);
                    context.add(Client { connection: Connection::new(stream) }, Interest::READ);
                }
                Ok(None) if self.listener.is_open(context.shared.active) => {
                    return Next::Wait(Interest::READ);
                }
                // Full, or out of descriptors. The listener is ready and must not be watched: under
                // level triggering it would spin, and under edge triggering never be reported again.
                Ok(None) => {
                    context.shared.waits_for_a_place = Some(context.token());
                    if let Some(pause) = self.listener.patience() {
                        context.wake_at(Instant::now() + pause);
                    }
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

    fn timeout(&mut self, context: &mut Context<'_, Shared>) -> Next {
        context.wake(context.token());
        Next::Wait(Interest::NONE)
    }
}

/// One client's handler.
struct Client {
    connection: Connection<Socket>,
}

impl Handler<Shared> for Client {
    fn fd(&self) -> BorrowedFd<'_> {
        self.connection.stream().as_fd()
    }

    fn ready(&mut self, event: Event, context: &mut Context<'_, Shared>) -> Next {
        let edge = context.trigger() == Trigger::Edge;
        let Shared { scratch, tally, .. } = &mut *context.shared;
        let mut received = 0;
        loop {
            let step = tally.step(self.connection.step(scratch), self.connection.stream());
            if step.wants == Wants::Close {
                return Next::Close;
            }
            // Level and oneshot report again what is left; edge does not, so go on until it is done.
            if !edge || step.would_block {
                return self.wait();
            }
            // A short read has emptied the socket, unless the end of stream is behind it.
            let emptied = (1..scratch.size()).contains(&step.received) && !event.read_closed;
            if emptied && step.wants == Wants::Read {
                return self.wait();
            }
            received += step.received;
            if received >= TURN_BYTES {
                return Next::Again;
            }
        }
    }

    fn added(&mut self, context: &mut Context<'_, Shared>) {
        if let Some(tick) = context.shared.idle_tick {
            context.wake_at(Instant::now() + tick);
        }
    }

    fn timeout(&mut self, context: &mut Context<'_, Shared>) -> Next {
        if self.connection.tick() {
            let _ = self.connection.stream().shutdown(Shutdown::Both);
            return Next::Again;
        }
        self.added(context);
        self.wait()
    }

    fn stop(&mut self, _: &mut Context<'_, Shared>) -> Next {
        // The client has sent all it will: what has arrived is echoed, then end of stream is found.
        let _ = self.connection.stream().shutdown(Shutdown::Read);
        Next::Again
    }

    fn closed(&mut self, context: &mut Context<'_, Shared>) {
        context.shared.active -= 1;
        if let Some(acceptor) = context.shared.waits_for_a_place.take() {
            context.wake(acceptor);
        }
    }
}

impl Client {
    /// Bytes first go out, then come in.
    fn wait(&self) -> Next {
        let to_write = self.connection.wants_to_write();
        Next::Wait(if to_write { Interest::WRITE } else { Interest::READ })
    }
}

/// The handler of the signals that ask us to stop.
struct Stopper {
    stop: Stop,
    drain: Duration,
}

impl Handler<Shared> for Stopper {
    fn fd(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, Shared>) -> Next {
        context.stop(self.drain);
        Next::Close
    }
}

impl From<TriggerName> for Trigger {
    fn from(name: TriggerName) -> Trigger {
        match name {
            TriggerName::Level => Trigger::Level,
            TriggerName::Edge => Trigger::Edge,
            TriggerName::Oneshot => Trigger::Oneshot,
        }
    }
}
