//! The load engine behind `loadgen` and the benches: many connections to one echo server, every
//! byte that comes back checked, every message's time recorded.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! use loadgen::{Plan, Session, Slice};
//! use std::time::Duration;
//!
//! let address = std::net::SocketAddr::from(([127, 0, 0, 1], 7000));
//! let mut session = Session::open(&Plan { connections: 64, idle: 900, ..Plan::new(address) })?;
//! let slice = Slice::lasting(Duration::from_millis(16)).after(Duration::from_millis(4));
//! let sample = session.run(&slice)?; // As often as you like, on the same connections.
//! println!("{:.0} messages/s", sample.rate());
//! println!("p99 {} ns", session.latency().response.value_at_quantile(0.99));
//! assert_eq!(sample.faults.total(), 0, "{}", sample.faults);
//! # Ok(())
//! # }
//! ```
//!
//! | file | what it is |
//! | --- | --- |
//! | `plan` | [`Plan`]: which connections; [`Slice`]: one run on them; [`Control`]: watching it |
//! | `session` | [`Session`]: the connections, opened once, run on many times |
//! | `content` | [`Content`]: what is sent, and the check of what comes back |
//! | `verifier` | how far one connection has sent, and whether what came back is right |
//! | `connection` | one connection's socket and its verifier |
//! | `engine` | many connections on one thread, by epoll; with `closed` and `open`, the two loops |
//! | `ping_pong` | one connection on one thread, by blocking calls |
//! | `churn` | a new connection for each message |
//! | `datagrams` | one datagram for each message, by UDP |
//! | `idle`, `slow` | clients that are silent, and clients that do not read |
//! | `connecting`, `dialer` | a connection on its way, and how to open many |
//! | `latency`, `recorder`, `series` | histograms, of a run and of its intervals |
//! | `outcome`, `usage` | counts and faults, and what the generator cost |
//! | `find_max` | the highest rate at which a promise about response time is kept |
//! | [`report`] | all of it as text, JSON, CSV, percentile text and HdrHistogram log |
//! | `limits`, `probe` | what this machine and the server can do, looked at before the start |
//!
//! Client and server should be separate processes: one for both shares what is to be told apart.

mod churn;
mod closed;
mod connecting;
mod connection;
mod content;
mod datagrams;
mod dialer;
mod engine;
mod find_max;
mod idle;
mod latency;
pub mod limits;
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
pub use find_max::{Objective, Step, find_max};
pub use latency::Latency;
pub use open::{Arrivals, Rate};
pub use outcome::{Fault, Faults, RATE_TOLERANCE, Sample};
pub use plan::{Control, Plan, Slice, Until};
pub use probe::probe;
pub use series::Interval;
pub use server_process::address::Address;
pub use session::Session;
pub use usage::{ClientCpu, SATURATED, STARVED};
pub use verifier::{Arrival, DatagramVerifier, StreamVerifier};
