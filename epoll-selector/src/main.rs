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
//! Read on in `server.rs`, the handlers that are called back, and `reactor.rs`, the loop that calls.
#![forbid(unsafe_code)]

mod server;

use std::io;
use std::net::UdpSocket;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;

use clap::{Parser, ValueEnum};
use echo::{IdleClock, Listener, Options, Scratch, Stop, Tally, Totals};
use epoll_selector::{Interest, Mio, Polling, Reactor, Selector, Trigger};

use crate::server::{Acceptor, Datagrams, Shared, Stopper};

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

    /// Number of loops, each with a thread and a selector of its own
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    loops: u16,

    /// How several loops share the listener
    #[arg(long, value_enum, default_value_t = Accept::Shared)]
    accept: Accept,

    /// Echo datagrams instead: one handler serves all clients, for there is nothing to accept
    #[arg(long, conflicts_with_all = ["loops", "accept"])]
    udp: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum SelectorName {
    /// mio: edge-triggered, one system call for each wait
    Mio,
    /// polling: every trigger, five system calls for each wait
    Polling,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TriggerName {
    /// On every wait for as long as it is ready
    Level,
    /// Once, when it becomes ready
    Edge,
    /// Once, and not again before it is asked for again
    Oneshot,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Accept {
    /// One listener that all loops watch: all are woken for each client, and one of them gets it
    Shared,
    /// One listener that all loops watch, and one of them is woken (EPOLLEXCLUSIVE; not with oneshot)
    Exclusive,
    /// A listener for each loop, and the kernel deals the clients out by a hash (SO_REUSEPORT)
    Reuseport,
}

fn main() -> ExitCode {
    let args = Args::parse();
    echo::finish(match args.selector {
        SelectorName::Mio => serve::<Mio>(&args),
        SelectorName::Polling => serve::<Polling>(&args),
    })
}

fn serve<S: Selector + Send>(args: &Args) -> echo::Result<Totals> {
    check(args)?;
    let stop = Arc::new(Stop::new()?);
    let selectors: io::Result<Vec<S>> =
        (0..args.loops).map(|_| S::new(args.trigger.into())).collect();
    let mut loops = selectors?.into_iter().zip(sources(args)?);
    let active = Arc::new(AtomicUsize::new(0));
    let run = |(selector, source)| {
        let served = run_loop::<S>(selector, source, args, &stop, &active);
        stop.request(); // Whatever ended this loop ends the others.
        served
    };
    thread::scope(|scope| {
        // The first loop is ours; the others get a thread each.
        let first = loops.next();
        let spawn = |other| thread::Builder::new().spawn_scoped(scope, move || run(other));
        let others: io::Result<Vec<_>> = loops.map(spawn).collect();
        let others = others.inspect_err(|_| stop.request())?;
        let mut totals = first.map_or_else(|| Ok(Totals::default()), run)?;
        if !others.is_empty() {
            totals.shares.push(totals.connections);
        }
        for other in others {
            let mut other = other.join().map_err(|_| io::Error::other("a loop panicked"))??;
            other.shares.push(other.connections);
            totals += other;
        }
        Ok(totals)
    })
}

/// Refuses options that each mean something, and nothing together.
fn check(args: &Args) -> echo::Result<()> {
    Err(echo::Error::bad_arguments(match (args.selector, args.accept, args.trigger) {
        (SelectorName::Mio, _, TriggerName::Level | TriggerName::Oneshot) => {
            "mio is always edge-triggered; add --selector polling"
        }
        (_, Accept::Exclusive, TriggerName::Oneshot) => {
            "--accept exclusive has no oneshot; add --trigger level or edge"
        }
        _ => return Ok(()),
    }))
}

/// Where a loop's work comes from.
enum Source {
    Clients(Listener),
    Datagrams(UdpSocket),
}

/// One loop: a reactor with two handlers, one that brings clients or datagrams, and one that stops it.
fn run_loop<S: Selector>(
    selector: S,
    source: Source,
    args: &Args,
    stop: &Arc<Stop>,
    active: &Arc<AtomicUsize>,
) -> echo::Result<Totals> {
    let options = &args.options;
    let shared = Shared {
        scratch: Scratch::new(options),
        tally: Tally::new(options),
        active: Arc::clone(active),
        other_loops: args.loops > 1,
        waits_for_a_place: None,
        idle_tick: IdleClock::new(options).interval(),
    };
    let mut reactor = Reactor::new(selector, shared);
    let stopper = Stopper { stop: Arc::clone(stop), drain: options.drain };
    reactor.add(Box::new(stopper), Interest::READ)?;
    match source {
        Source::Clients(listener) => {
            let exclusive = args.loops > 1 && args.accept == Accept::Exclusive;
            let interest = if exclusive { Interest::EXCLUSIVE } else { Interest::READ };
            reactor.add(Box::new(Acceptor::new(listener, interest)), interest)?;
        }
        Source::Datagrams(socket) => {
            reactor.add(Box::new(Datagrams { socket }), Interest::READ)?;
        }
    }
    Ok(reactor.run()?.tally.totals())
}

/// A source for each loop.
fn sources(args: &Args) -> echo::Result<Vec<Source>> {
    let options = &args.options;
    if args.udp {
        let socket = echo::bind_datagrams(options)?;
        socket.set_nonblocking(true)?;
        return Ok(vec![Source::Datagrams(socket)]);
    }
    let (count, most) = (args.loops.into(), options.max_connections(usize::MAX)?);
    let mut listeners = match args.accept {
        Accept::Reuseport => echo::listen_on_all(options, most, count)?,
        Accept::Shared | Accept::Exclusive => vec![echo::listen(options, most)?],
    };
    while listeners.len() < count {
        listeners.push(listeners[0].try_clone()?);
    }
    let nonblocking = |mut listener: Listener| {
        listener.set_nonblocking()?;
        Ok(Source::Clients(listener))
    };
    listeners.into_iter().map(nonblocking).collect()
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
