//! What "the same echo server" means: everything that no I/O model changes.
//!
//! RFC 862 asks little: send back what arrives. The servers of this workspace differ only in *how they
//! wait*; what they share stands here once, and is tested here.
//!
//! | item | what it is |
//! | --- | --- |
//! | [`Options`], [`bad_arguments`] | the command line that all servers have in common |
//! | [`Address`], [`listen`], [`Listener`] | the listening socket, and when not to accept from it |
//! | [`Connection`] | the echo service over a stream that may say `WouldBlock` |
//! | [`echo_until_eof`] | the echo service over a stream that blocks |
//! | [`bind_datagrams`], [`echo_datagram`] | the same service over UDP, where nothing is accepted |
//! | [`IdleClock`] | when to close a connection on which nothing moves |
//! | [`Scratch`] | the one buffer that a loop or a thread reads into |
//! | [`Clients`] | the live streams of a server whose threads block, so that a stop can reach them |
//! | [`Shortage`] | what the system has run out of, said once |
//! | [`Stop`] | SIGINT and SIGTERM, as a flag and as a readable descriptor |
//! | [`Tally`], [`Totals`], [`finish`] | what was done, and the end of `main` |
//!
//! Not here: accept loops, event loops, registration, and hand-off between threads. They are the model.
#![forbid(unsafe_code)]

mod address;
mod blocking;
mod clients;
mod connection;
mod datagram;
mod idle;
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
pub use datagram::{bind_datagrams, echo_datagram};
pub use idle::{IDLE_TICKS, IdleClock};
pub use listener::{ACCEPT_PAUSE, ACCEPTS_PER_TURN, Listener, listen, listen_on_all, set_timeouts};
pub use options::{DESCRIPTOR_RESERVE, Options, bad_arguments, parse_duration};
pub use report::{Tally, Totals, finish, report};
pub use scratch::{SCRATCH_BYTES, Scratch};
pub use shortage::Shortage;
pub use stop::Stop;
