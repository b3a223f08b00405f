//! The load engine behind `loadgen` and the benchmarks: many connections to one echo server. The
//! engine checks every byte that comes back and records the time of every message.
//!
//! ```no_run
//! # fn main() -> loadgen::Result<()> {
//! use loadgen::{Plan, Session, Slice};
//! use std::time::Duration;
//!
//! let address = std::net::SocketAddr::from(([127, 0, 0, 1], 7000));
//! let mut session = Session::open(&Plan { connections: 64, idle: 900, ..Plan::new(address) })?;
//! let slice = Slice::lasting(Duration::from_millis(16)).after(Duration::from_millis(4));
//! let sample = session.run(&slice)?; // Any number of times, on the same connections.
//! println!("{:.0} messages/s", sample.rate());
//! println!("p99 {} ns", session.latency().response.value_at_quantile(0.99));
//! assert_eq!(sample.faults.total(), 0, "{}", sample.faults);
//! # Ok(())
//! # }
//! ```
//!
//! | file | topic |
//! | --- | --- |
//! | `plan` | [`Plan`]: the connections; [`Slice`]: one run on them; [`Control`]: stop and progress |
//! | `session` | [`Session`]: the connections, opened once, for many runs |
//! | `content` | [`Content`]: the bytes of a connection, and the check of the bytes that come back |
//! | `verifier` | how far one connection has sent, and whether the returned bytes are right |
//! | `connection` | one connection: its socket and its verifier |
//! | `engine` | many connections on one thread, with epoll; `closed` and `open` are its two loops |
//! | `ping_pong` | one connection on one thread, with blocking calls |
//! | `churn` | a new connection for each message |
//! | `datagrams` | one UDP datagram for each message |
//! | `idle`, `slow` | silent clients, and clients that hardly read |
//! | `connecting`, `dialer` | opening a connection, and opening many |
//! | `latency`, `recorder`, `series` | the histograms of a run, and of its intervals |
//! | `outcome`, `usage` | counts and faults, and the CPU time of the generator |
//! | `find_max` | the highest rate at which a promise about response time is kept |
//! | [`report`] | the result as text, JSON, CSV, percentile text and HdrHistogram log |
//! | `limits`, `probe` | what this machine and the server allow, checked before the load starts |
//! | `error` | [`Error`]: why a load cannot start or cannot go on |
//!
//! Run client and server as separate processes. In one process their CPU times, descriptors and
//! scheduling cannot be told apart.

mod churn;
mod closed;
mod connecting;
mod connection;
mod content;
mod datagrams;
mod dialer;
mod engine;
mod error;
mod find_max;
mod idle;
mod latency;
mod limits;
mod machine;
mod open;
mod outcome;
mod ping_pong;
mod plan;
mod probe;
mod recorder;
pub mod report;
mod series;
mod session;
mod slow;
mod usage;
mod verifier;

pub use content::Content;
pub use error::{Error, Result};
pub use find_max::{Broken, Objective, Search, Step, find_max};
pub use latency::{LATE, Latency};
pub use machine::{DISTURBED, MachineMeter, MachineUse, ServerSide};
pub use open::{Arrivals, Rate};
pub use outcome::{Fault, Faults, RATE_TOLERANCE, Sample};
pub use plan::{Control, Plan, Slice, Until};
pub use probe::probe;
pub use series::Interval;
pub use server_process::address::Address;
pub use session::Session;
pub use usage::{ClientCpu, SATURATED, STARVED};
pub use verifier::{Arrival, DatagramVerifier, StreamVerifier};
