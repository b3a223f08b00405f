//! # epoll-selector: the kernel keeps the list, and a loop calls back who is ready
//!
//! **What blocks, and where.** Only epoll_wait(2), in [`Reactor::run`]; every socket is
//! non-blocking.
//!
//! **What the kernel tells us.** Which sockets *became* ready since we last asked (edge-triggered),
//! and the [`Token`](epoll_selector::Token) we gave for each. The kernel remembers an interest: we
//! tell it once.
//!
//! **What it costs.** Three system calls for a message: epoll_wait, read, write. All clients that
//! are ready share the wait. A client that is silent costs an entry in a table and nothing else. So
//! the cost of a message does not grow with the number of silent clients.
//!
//! **How it differs from the model before.** `select` hands the whole set over on every turn, and
//! walks the set to find who is ready. Here the set stays in the kernel. Only those that are ready
//! come back, and the reactor calls their handlers.
//!
//! ```console
//! $ cargo run --release -p epoll-selector
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! Read on in `server.rs`, the handlers that are called back, and `reactor.rs`, the loop that
//! calls. `loops.rs` has what `--loops` adds.
#![forbid(unsafe_code)]

mod loops;
mod server;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use clap::{Parser, ValueEnum};
use echo::{IdleClock, Options, Scratch, Stop, Tally, Totals};
use epoll_selector::{Acceptor, Mio, Poll, Polling, Reactor, Selector, Trigger};

use crate::loops::Source;
use crate::server::{Client, Datagrams, Shared};

/// TCP echo server: a reactor on epoll calls back who is ready.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// What asks the kernel
    #[arg(long, value_enum, default_value_t = SelectorName::Mio)]
    selector: SelectorName,

    /// When the kernel reports that a socket is ready [default: edge, or level with poll]
    #[arg(long, value_enum)]
    trigger: Option<TriggerName>,

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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SelectorName {
    /// The mio crate: edge-triggered, one system call for each wait
    Mio,
    /// The polling crate: every trigger, five system calls for each wait
    Polling,
    /// poll(2): level-triggered, and each wait costs more with more clients
    Poll,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TriggerName {
    /// On every wait while the socket is ready
    Level,
    /// Once, when the socket becomes ready
    Edge,
    /// Once, and not again before the interest is renewed
    Oneshot,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Accept {
    /// One listener that all loops watch: all are woken for each client, and one of them gets it
    Shared,
    /// One listener that all loops watch, and one of them is woken (EPOLLEXCLUSIVE; not with
    /// oneshot)
    Exclusive,
    /// A listener for each loop, and the kernel deals the clients out by a hash (SO_REUSEPORT)
    Reuseport,
}

fn main() -> ExitCode {
    let args = Args::parse();
    echo::finish(args.check().and_then(|()| match args.selector {
        SelectorName::Mio => loops::serve::<Mio>(&args),
        SelectorName::Polling => loops::serve::<Polling>(&args),
        SelectorName::Poll => loops::serve::<Poll>(&args),
    }))
}

/// One loop: a reactor with a handler that brings clients, or one for all datagrams. `active`
/// counts the clients of all loops.
fn serve<S: Selector>(
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
        idle_tick: IdleClock::new(options).interval(),
    };
    let mut reactor = Reactor::new(selector, shared);
    reactor.stop_on(Arc::clone(stop), options.drain);
    match source {
        Source::Clients(listener) if args.loops == 1 => {
            reactor.add(Acceptor::new(listener, Client::new))
        }
        Source::Clients(listener) => {
            let exclusive = args.accept == Accept::Exclusive;
            let acceptor = Acceptor::new(listener, Client::new);
            reactor.add(acceptor.shared(Arc::clone(active), exclusive))
        }
        Source::Datagrams(socket) => reactor.add(Datagrams(socket)),
    };
    Ok(reactor.run()?.tally.totals())
}

impl Args {
    /// Refuses options that each mean something, and nothing together.
    fn check(&self) -> echo::Result<()> {
        Err(echo::Error::bad_arguments(match (self.selector, self.accept, self.trigger()) {
            (SelectorName::Mio, _, Trigger::Level | Trigger::Oneshot) => {
                "mio is always edge-triggered; add --selector polling"
            }
            (SelectorName::Poll, _, Trigger::Edge | Trigger::Oneshot) => {
                "poll is always level-triggered; leave --trigger out"
            }
            (SelectorName::Poll, Accept::Exclusive, _) => {
                "--accept exclusive needs epoll; add --selector mio or polling"
            }
            (_, Accept::Exclusive, Trigger::Oneshot) => {
                "--accept exclusive has no oneshot; add --trigger level or edge"
            }
            _ => return Ok(()),
        }))
    }

    fn trigger(&self) -> Trigger {
        match self.trigger {
            Some(TriggerName::Level) => Trigger::Level,
            Some(TriggerName::Edge) => Trigger::Edge,
            Some(TriggerName::Oneshot) => Trigger::Oneshot,
            None if self.selector == SelectorName::Poll => Trigger::Level,
            None => Trigger::Edge,
        }
    }
}
