//! What all programs have in common: where they listen, how many clients they take, how they end.
#![allow(dead_code)] // Each program uses a part.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use echo::{Address, Listener, Options, Stop};
use epoll_selector::{Mio, Reactor, Selector, Trigger};

/// The options of every server here.
#[derive(Args, Clone, Debug)]
pub(crate) struct Serving {
    /// Address to listen on: HOST:PORT, [IPV6]:PORT (port 0: a free one), or unix:PATH
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    pub(crate) addr: Address,

    /// Most clients connected at once; the others wait in the backlog
    #[arg(long, value_name = "COUNT", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,

    /// Longest time to finish pending answers after SIGINT or SIGTERM, e.g. 500ms or 2s
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = echo::parse_duration)]
    pub(crate) drain: Duration,
}

impl Serving {
    /// A reactor that ends politely after SIGINT or SIGTERM, and then a listener, whose address is printed.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound, or no descriptor is left.
    pub(crate) fn start<T>(&self, shared: T) -> echo::Result<(Reactor<Mio, T>, Listener)> {
        let stop = Arc::new(Stop::new()?);
        let mut reactor = Reactor::new(Mio::new(Trigger::Edge)?, shared);
        reactor.stop_on(stop, self.drain);
        Ok((reactor, self.listen()?))
    }

    /// A listener that does not block. Its address is printed.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub(crate) fn listen(&self) -> echo::Result<Listener> {
        let options = Options {
            addr: self.addr.clone(),
            backlog: 1024,
            max_connections: None,
            drain: self.drain,
            work: Duration::ZERO,
            idle_timeout: None,
            verbose: false,
        };
        let mut listener = echo::listen(&options, self.max_connections as usize)?;
        listener.set_nonblocking()?;
        Ok(listener)
    }
}

/// The end of `main`: exit status 0, or one line of error and exit status 1, or 2 for bad arguments.
pub(crate) fn finish(result: echo::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            echo::report(format_args!("error: {error}"));
            ExitCode::from(if matches!(error, echo::Error::BadArguments(_)) { 2 } else { 1 })
        }
    }
}
