//! Several loops, each with a thread, a selector and a source of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;

use echo::{DatagramSocket, Listener, Stop, Totals};
use epoll_selector::Selector;

use crate::{Accept, Args};

/// Runs all loops until a stop is requested. Returns their totals together.
pub(crate) fn serve<S: Selector + Send>(args: &Args) -> echo::Result<Totals> {
    let stop = Arc::new(Stop::new()?);
    let selectors: io::Result<Vec<S>> = (0..args.loops).map(|_| S::new(args.trigger())).collect();
    let mut loops = selectors?.into_iter().zip(sources(args)?);
    let active = Arc::new(AtomicUsize::new(0));
    let run = |(selector, source)| {
        let served = crate::serve::<S>(selector, source, args, &stop, &active);
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

/// Where a loop's work comes from.
pub(crate) enum Source {
    Clients(Listener),
    Datagrams(DatagramSocket),
}

/// A source for each loop.
fn sources(args: &Args) -> echo::Result<Vec<Source>> {
    let options = &args.options;
    if args.udp {
        let socket = echo::bind_datagrams(options)?;
        socket.set_nonblocking()?;
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
