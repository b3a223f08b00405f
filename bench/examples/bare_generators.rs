//! Measures the cost of the load engine. Compares the engine with bare generators, which make only
//! the system calls: no verification, no histogram, no faults, no limits.
//!
//! All generators drive the same server, in turns of 20 ms. The order of turns changes in every
//! round, and each ratio compares turns of the same round. Pin server and generator to one core
//! each; otherwise the results are not meaningful:
//!
//! ```text
//! taskset -c 0 target/release/epoll-selector --addr 127.0.0.1:7000 &
//! taskset -c 1 cargo run --release -p bench --example bare_generators -- 127.0.0.1:7000
//! ```

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::{Plan, Session, Slice};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 100;
const TURN: Duration = Duration::from_millis(20);
const CONNECTIONS: usize = 50;
const SIZE: usize = 64;

fn main() -> io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let addr: SocketAddr = addr.parse().map_err(io::Error::other)?;
    one_connection(addr)?;
    many_connections(addr)?;
    pipelined(addr)
}

/// Compares the median time of a message: a blocking ping-pong and the engine, on one connection.
fn one_connection(addr: SocketAddr) -> io::Result<()> {
    let mut stream = connect(addr)?;
    let mut session = Session::open(&Plan { size: SIZE, ..Plan::new(addr) })?;
    let mut ratios = Vec::with_capacity(ROUNDS);
    let (mut bare_times, mut engine_times) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut bare = 0;
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                bare = bare_ping_pong(&mut stream)?;
            } else {
                session.clear();
                session.run(&Slice::lasting(TURN).after(TURN / 5))?;
            }
        }
        let engine = session.latency().response.value_at_quantile(0.5);
        ratios.push(engine as f64 / bare as f64);
        bare_times.push(bare as f64);
        engine_times.push(engine as f64);
    }
    println!(
        "one connection, {SIZE} B: median of a message, bare blocking ping-pong {:.1} us, engine \
         {:.1} us; engine / bare {}",
        median(&mut bare_times) / 1e3,
        median(&mut engine_times) / 1e3,
        interval(&mut ratios)
    );
    Ok(())
}

/// Compares the messages per second on many connections: a bare epoll loop, a thread per
/// connection, and the engine.
fn many_connections(addr: SocketAddr) -> io::Result<()> {
    let mut bare = BareEpoll::open(addr)?;
    let mut streams =
        (0..CONNECTIONS).map(|_| connect(addr)).collect::<io::Result<Vec<TcpStream>>>()?;
    let mut session =
        Session::open(&Plan { connections: CONNECTIONS, size: SIZE, ..Plan::new(addr) })?;
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    let (mut cores, mut walls) = ([Duration::ZERO; 3], [Duration::ZERO; 3]);
    for round in 0..ROUNDS {
        for turn in 0..rates.len() {
            let generator = (round + turn) % rates.len();
            let (before, began) = (cpu_time()?, Instant::now());
            rates[generator].push(match generator {
                0 => bare.run()?,
                1 => thread_per_connection(&mut streams)?,
                _ => session.run(&Slice::lasting(TURN).after(TURN / 5))?.rate(),
            });
            cores[generator] += cpu_time()? - before;
            walls[generator] += began.elapsed();
        }
    }
    let [bare, threads, engine] = &mut rates;
    println!(
        "{CONNECTIONS} connections, {SIZE} B: engine / bare epoll loop {}, engine / thread per \
         connection {}",
        interval(&mut ratios(engine, bare)),
        interval(&mut ratios(engine, threads))
    );
    for (index, (name, rates)) in
        [("bare epoll loop", bare), ("thread per connection", threads), ("engine", engine)]
            .into_iter()
            .enumerate()
    {
        let cores = cores[index].as_secs_f64() / walls[index].as_secs_f64();
        println!(
            "    {name}: {:.0} messages/s with {:.0} % of a core, {:.2} us of CPU time per message",
            median(rates),
            cores * 100.0,
            cores * 1e6 / median(rates)
        );
    }
    Ok(())
}

/// Measures the messages per second of the engine with many messages in flight on each connection.
fn pipelined(addr: SocketAddr) -> io::Result<()> {
    let plan = Plan { connections: 8, size: SIZE, depth: 64, ..Plan::new(addr) };
    let mut session = Session::open(&plan)?;
    let mut rates = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        rates.push(session.run(&Slice::lasting(TURN).after(TURN / 5))?.rate());
    }
    println!(
        "8 connections, 64 messages of {SIZE} B in flight on each: engine {:.0} messages/s",
        median(&mut rates)
    );
    Ok(())
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Writes a message and reads the echo, repeatedly. Returns the median time in nanoseconds.
fn bare_ping_pong(stream: &mut TcpStream) -> io::Result<u64> {
    let (message, mut answer) = ([7; SIZE], [0; SIZE]);
    let mut times = Vec::with_capacity(10_000);
    let began = Instant::now();
    while began.elapsed() < TURN {
        let sent = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut answer)?;
        times.push(sent.elapsed().as_nanos() as f64);
    }
    Ok(median(&mut times) as u64)
}

/// An edge-triggered loop that sends the next message after each echo.
struct BareEpoll {
    epoll: Epoll,
    streams: Vec<TcpStream>,
}

impl BareEpoll {
    fn open(addr: SocketAddr) -> io::Result<BareEpoll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut streams = Vec::with_capacity(CONNECTIONS);
        for index in 0..CONNECTIONS {
            let stream = connect(addr)?;
            stream.set_nonblocking(true)?;
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            epoll.add(&stream, EpollEvent::new(interest, index as u64))?;
            streams.push(stream);
        }
        Ok(BareEpoll { epoll, streams })
    }

    /// Runs for one turn and returns the messages per second.
    fn run(&mut self) -> io::Result<f64> {
        let (message, mut answer) = ([7; SIZE], [0; 64 * 1024]);
        let mut events = [EpollEvent::empty(); 512];
        for stream in &mut self.streams {
            stream.write_all(&message)?;
        }
        let (mut on_their_way, mut messages) = (self.streams.len(), 0);
        let began = Instant::now();
        let mut elapsed = None;
        while on_their_way > 0 {
            let count = self.epoll.wait(&mut events, EpollTimeout::NONE)?;
            for event in &events[..count] {
                let stream = &mut self.streams[event.data() as usize];
                // One read returns the whole message, because the message is small.
                let _ = stream.read(&mut answer)?;
                messages += 1;
                if elapsed.is_none() {
                    stream.write_all(&message)?;
                } else {
                    on_their_way -= 1;
                }
            }
            if elapsed.is_none() && began.elapsed() >= TURN {
                elapsed = Some((began.elapsed(), messages));
            }
        }
        let (elapsed, messages) = elapsed.unwrap_or((began.elapsed(), messages));
        Ok(messages as f64 / elapsed.as_secs_f64())
    }
}

/// Runs a blocking ping-pong in one thread per connection, like rust_echo_bench. Returns the
/// messages per second.
fn thread_per_connection(streams: &mut [TcpStream]) -> io::Result<f64> {
    let (counting, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let messages = AtomicU64::new(0);
    let elapsed = thread::scope(|scope| {
        for stream in streams {
            let (counting, stop, messages) = (&counting, &stop, &messages);
            scope.spawn(move || -> io::Result<()> {
                let (message, mut answer) = ([7; SIZE], [0; SIZE]);
                let mut counted = 0;
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(&message)?;
                    stream.read_exact(&mut answer)?;
                    counted += u64::from(counting.load(Ordering::Relaxed));
                }
                messages.fetch_add(counted, Ordering::Relaxed);
                Ok(())
            });
        }
        thread::sleep(TURN / 5); // Until all threads have started.
        counting.store(true, Ordering::Relaxed);
        let began = Instant::now();
        thread::sleep(TURN);
        counting.store(false, Ordering::Relaxed);
        let elapsed = began.elapsed();
        stop.store(true, Ordering::Relaxed);
        elapsed
    });
    Ok(messages.into_inner() as f64 / elapsed.as_secs_f64())
}

/// Returns the CPU time of this process so far.
fn cpu_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn ratios(these: &[f64], those: &[f64]) -> Vec<f64> {
    these.iter().zip(those).map(|(this, that)| this / that).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the median and its 95 % confidence interval from order statistics.
fn interval(values: &mut [f64]) -> String {
    let median = median(values);
    let half = (values.len() as f64).sqrt() * 0.98;
    let at = |offset: f64| values[(values.len() as f64 / 2.0 + offset) as usize];
    format!("{median:.3} ({:.3} to {:.3})", at(-half), at(half))
}
