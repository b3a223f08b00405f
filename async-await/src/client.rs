//! One client's connection, and what ends it besides its peer.

use std::future::pending;
use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use async_await::{Sleep, Source};
use echo::{IDLE_TICKS, IdleClock};
use socket2::Socket;

use crate::server::{Place, Server};

/// A client that is connected. A client that is dropped without an [end](Client::ended) is cut off.
pub(crate) struct Client {
    // In this order: fields are dropped in the order of their declaration.
    pub(crate) source: Source,
    place: Place,
    /// Bytes sent back.
    sent: AtomicU64,
    /// A byte has moved since the last tick of the idle clock.
    moved: AtomicBool,
    ended: AtomicBool,
}

impl Client {
    pub(crate) fn new(place: Place, socket: Socket) -> Client {
        Client {
            source: Source::new(&place.server().executor, socket),
            place,
            sent: AtomicU64::new(0),
            moved: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    pub(crate) fn server(&self) -> &Server {
        self.place.server()
    }

    /// Writes all bytes, or waits until the peer takes them.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.source.write(bytes).await?;
            self.moved(0, sent);
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Counts bytes that have moved.
    pub(crate) fn moved(&self, received: usize, sent: usize) {
        self.sent.fetch_add(sent as u64, Relaxed);
        if received + sent > 0 {
            self.moved.store(true, Relaxed);
        }
    }

    /// Waits until no byte has moved for the whole of `--idle-timeout`.
    pub(crate) async fn idle(&self) {
        let mut quiet = 0;
        while quiet < IDLE_TICKS {
            let interval = IdleClock::new(&self.server().options).interval();
            match interval {
                Some(tick) => Sleep::until(&self.server().executor, Instant::now() + tick).await,
                None => pending().await,
            }
            quiet = if self.moved.swap(false, Relaxed) { 0 } else { quiet + 1 };
        }
    }

    /// Waits for a stop, ends the client's stream, and waits until the time of the drain is over.
    pub(crate) async fn drained(&self) {
        let deadline = self.server().stopping().await;
        // What has arrived is echoed. Behind it, the task finds end of stream.
        let _ = self.source.socket().shutdown(Shutdown::Read);
        Sleep::until(&self.server().executor, deadline).await;
    }

    /// Counts the client's end.
    pub(crate) fn ended(&self, result: &io::Result<()>) {
        self.server().tally().closed(self.source.socket(), result);
        self.ended.store(true, Relaxed);
    }

    /// Counts the end of a client that was idle for too long.
    pub(crate) fn ended_idle(&self) {
        self.server().tally().idle(self.source.socket());
        self.ended.store(true, Relaxed);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut tally = self.server().tally();
        tally.sent(self.sent.load(Relaxed));
        if !self.ended.load(Relaxed) {
            tally.cut_off(self.source.socket());
        }
    }
}
