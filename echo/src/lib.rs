//! What "the same echo server" means: everything that no I/O model changes.
//!
//! RFC 862 asks little: send back what arrives. The servers of this workspace differ only in *how they
//! wait*. What they share stands here once, and is tested here.
//!
//! | item | what it is |
//! | --- | --- |
//! | [`echo_until_eof`] | the echo service over a stream that blocks |
//! | [`Connection`] | the echo service over a stream that may answer `WouldBlock` |
//! | [`bind_datagrams`], [`echo_datagram`] | the same service over datagrams, which have no connections |
//! | [`DatagramSocket`], [`Sender`] | the bound socket of the datagrams, and where one came from |
//! | [`Scratch`] | the one buffer that a loop or a thread reads into |
//! | [`Options`] | the command line that all servers have in common |
//! | [`Address`], [`listen`] | from `--addr` to a listening socket |
//! | [`Listener`], [`Accepted`] | the listening socket, and when not to accept from it |
//! | [`Lifecycle`] | what a loop does beside its model: stop, drain, idle clients, the longest wait |
//! | [`Clients`] | the same for servers whose threads block: the live streams, so that a stop can end them |
//! | [`IdleClock`] | when to close a connection on which nothing moves |
//! | [`Stop`] | SIGINT and SIGTERM, as a flag and as a readable descriptor |
//! | [`Tally`], [`Totals`], [`finish`] | what was done, and the end of `main` |
//! | [`Error`], [`Shortage`] | what ends a server, and what only makes it wait |
//!
//! Not here: accept loops, event loops, registration, and hand-off between threads. They are the model.
#![forbid(unsafe_code)]

mod address;
mod blocking;
mod clients;
mod connection;
mod datagram;
mod error;
mod idle;
mod lifecycle;
mod listen;
mod listener;
mod options;
mod report;
mod scratch;
mod shortage;
mod stop;

pub use address::Address;
pub use blocking::echo_until_eof;
pub use clients::{Client, Clients};
pub use connection::{Connection, Step, Wants};
pub use datagram::{DatagramSocket, Sender, bind_datagrams, echo_datagram};
pub use error::{Error, Result};
pub use idle::{IDLE_TICKS, IdleClock};
pub use lifecycle::{Lifecycle, Served};
pub use listen::{listen, listen_on_all};
pub use listener::{ACCEPT_PAUSE, ACCEPTS_PER_TURN, Accepted, Listener, set_timeouts};
pub use options::{DESCRIPTOR_RESERVE, Options, parse_duration};
pub use report::{Tally, Totals, finish, report};
pub use scratch::{SCRATCH_BYTES, Scratch};
pub use shortage::Shortage;
pub use stop::Stop;
