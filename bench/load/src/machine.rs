//! What happens on this machine beside the generator: the server's CPU time, other programs, and
//! steal. Linux only.
//!
//! The CPU time of other programs is a difference: the time in which the processors were not idle,
//! less the CPU time of the generator and of the server. The kernel measures idle time exactly, so
//! the difference is good to some 10 ms, the resolution of /proc/stat.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};
use procfs::ConfigSetting;
use procfs::net::{TcpState, UnixState};
use procfs::process::{FDTarget, all_processes};
use server_process::proc;

use crate::{Address, Control, Error, Result};

/// CPU time of other programs, in cores, from which the machine counts as disturbed.
pub const DISTURBED: f64 = 0.05;

/// The error of a difference of two readings of /proc/stat: three ticks.
const RESOLUTION: Duration = Duration::from_millis(30);

/// The server's side of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerSide {
    /// On another machine.
    Elsewhere,
    /// On this machine: the processes that hold the listening socket. Their children count, too.
    Here(Vec<Pid>),
    /// On this machine, but no process is visible that holds the listening socket.
    Unknown,
}

impl ServerSide {
    /// The given processes.
    ///
    /// # Errors
    ///
    /// [`Error::BadPlan`] if one of them does not exist.
    pub fn given(pids: &[i32]) -> Result<ServerSide> {
        let roots: Vec<Pid> = pids.iter().copied().map(Pid::from_raw).collect();
        for root in &roots {
            if let Err(error) = proc::processes(*root) {
                let text = format!("there is no server process {root} here: {error}");
                return Err(Error::BadPlan(text));
            }
        }
        Ok(ServerSide::Here(roots))
    }

    /// Finds the processes that listen at this address.
    pub fn find(address: &Address) -> ServerSide {
        let sockets = match address {
            Address::Tcp(address) | Address::Udp(address) if !is_here(*address) => {
                return ServerSide::Elsewhere;
            }
            Address::Tcp(address) => tcp_listeners(*address),
            Address::Udp(address) => udp_listeners(*address),
            Address::Unix(path) => {
                let entries = procfs::net::unix().unwrap_or_default();
                let here = entries.into_iter().filter(|entry| {
                    entry.state == UnixState::UNCONNECTED && entry.path.as_ref() == Some(path)
                });
                here.map(|entry| entry.inode).collect()
            }
        };
        let holders = holders_of(&sockets);
        // A worker that shares its parent's socket is counted with its parent.
        let is_child = |pid: &Pid| {
            holders.iter().any(|other| {
                other != pid && proc::processes(*other).is_ok_and(|tree| tree.contains(pid))
            })
        };
        let roots: Vec<Pid> = holders.iter().copied().filter(|pid| !is_child(pid)).collect();
        if roots.is_empty() { ServerSide::Unknown } else { ServerSide::Here(roots) }
    }

    /// CPU time of the processes, their children, and children that have ended. `None` if it is
    /// unavailable.
    fn cpu_time(&self) -> Option<Duration> {
        let ServerSide::Here(roots) = self else { return None };
        let mut tree = BTreeSet::new();
        for root in roots {
            tree.extend(proc::processes(*root).ok()?);
        }
        let mut total = Duration::ZERO;
        for pid in tree {
            // A child that has just ended is in the times of its parent.
            let (Ok(own), Ok(times)) = (proc::cpu_time(pid), proc::times(pid)) else { continue };
            total += own + times.reaped_user + times.reaped_system;
        }
        Some(total)
    }
}

/// Whether the system would send to this address from the same address.
fn is_here(address: SocketAddr) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => [0; 4].into(),
        SocketAddr::V6(_) => [0_u16; 8].into(),
    };
    // connect(2) of a UDP socket chooses a source address and sends nothing.
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(address)?;
        socket.local_addr()
    });
    address.ip().is_loopback() || source.is_ok_and(|source| source.ip() == address.ip())
}

/// The inodes of the sockets that listen at this address, or at its port of all addresses.
fn tcp_listeners(address: SocketAddr) -> BTreeSet<u64> {
    let entries = [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.state == TcpState::Listen && serves(entry.local_address, address))
        .map(|entry| entry.inode)
        .collect()
}

fn udp_listeners(address: SocketAddr) -> BTreeSet<u64> {
    let entries = [procfs::net::udp(), procfs::net::udp6()].into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.remote_address.port() == 0 && serves(entry.local_address, address))
        .map(|entry| entry.inode)
        .collect()
}

/// Whether a socket that is bound to `bound` receives what is sent to `address`.
fn serves(bound: SocketAddr, address: SocketAddr) -> bool {
    bound.port() == address.port()
        && (bound.ip().to_canonical() == address.ip() || bound.ip().is_unspecified())
}

/// The processes that hold one of these sockets. Processes of other users are not visible.
fn holders_of(sockets: &BTreeSet<u64>) -> Vec<Pid> {
    let Ok(processes) = all_processes() else { return Vec::new() };
    let holds = |process: &procfs::process::Process| {
        process.fd().is_ok_and(|mut fds| {
            fds.any(|fd| {
                fd.is_ok_and(
                    |fd| matches!(fd.target, FDTarget::Socket(inode) if sockets.contains(&inode)),
                )
            })
        })
    };
    let holders = processes.flatten().filter(holds);
    holders.map(|process| Pid::from_raw(process.pid())).collect()
}

/// What a run cost beside the generator. `None` is unavailable.
#[derive(Clone, Debug)]
pub struct MachineUse {
    /// Time between the two readings.
    pub elapsed: Duration,
    /// Messages that came back between the two readings.
    pub messages: u64,
    /// CPU time of the server and its children.
    pub server: Option<Duration>,
    /// CPU time of programs other than the generator and the server. `None` also for a server on this
    /// machine whose processes are unknown.
    pub others: Option<Duration>,
    /// Time that the hypervisor kept from this machine's processors.
    pub steal: Option<Duration>,
    /// Time in interrupts and soft interrupts.
    pub interrupts: Option<Duration>,
}

impl MachineUse {
    /// A time as a number of cores that were busy all the time.
    pub fn cores(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Whether other programs, or the hypervisor, used more than [`DISTURBED`] of a core. `None` if
    /// both are unavailable.
    pub fn disturbed(&self) -> Option<bool> {
        let limit = self.elapsed.mul_f64(DISTURBED) + RESOLUTION;
        let most = self.others.max(self.steal)?;
        Some(most > limit)
    }
}

/// The readings at the start of a run.
pub struct MachineMeter<'a> {
    side: &'a ServerSide,
    control: &'a Control,
    began: Instant,
    answered: u64,
    before: Readings,
}

struct Readings {
    /// CPU time of this process.
    own: Option<Duration>,
    server: Option<Duration>,
    machine: Option<Machine>,
}

/// Times of all processors together.
struct Machine {
    idle: Duration,
    interrupts: Duration,
    steal: Duration,
}

impl<'a> MachineMeter<'a> {
    /// Takes the readings at the start of a run. `control` counts the messages of the run.
    pub fn start(side: &'a ServerSide, control: &'a Control) -> MachineMeter<'a> {
        let before = Readings::take(side);
        MachineMeter { side, control, began: Instant::now(), answered: control.answered(), before }
    }

    /// Takes the readings at the end of a run, and returns the differences.
    pub fn stop(self) -> MachineUse {
        let (before, now) = (self.before, Readings::take(self.side));
        let elapsed = self.began.elapsed();
        let own = used(before.own, now.own);
        let server = used(before.server, now.server);
        let machine = before.machine.zip(now.machine);
        let between = |of: fn(&Machine) -> Duration| {
            machine.as_ref().map(|(before, now)| of(now).saturating_sub(of(before)))
        };
        let (idle, steal) = (between(|machine| machine.idle), between(|machine| machine.steal));
        let interrupts = between(|machine| machine.interrupts);
        let served =
            if *self.side == ServerSide::Elsewhere { Some(Duration::ZERO) } else { server };
        let others = || {
            let apart = if interrupts_are_apart() { interrupts? } else { Duration::ZERO };
            let known = idle? + steal? + own? + served? + apart;
            Some((elapsed * processors()?).saturating_sub(known))
        };
        let messages = self.control.answered() - self.answered;
        MachineUse { elapsed, messages, server, others: others(), steal, interrupts }
    }
}

impl Readings {
    fn take(side: &ServerSide) -> Readings {
        Readings {
            own: clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok().map(Duration::from),
            server: side.cpu_time(),
            machine: machine(),
        }
    }
}

fn machine() -> Option<Machine> {
    let times = proc::machine_times().ok()?;
    let [_user, _nice, _system, idle, iowait, irq, softirq, steal, ..] = times[..] else {
        return None;
    };
    Some(Machine { idle: idle + iowait, interrupts: irq + softirq, steal })
}

fn used(before: Option<Duration>, now: Option<Duration>) -> Option<Duration> {
    Some(now?.saturating_sub(before?))
}

fn processors() -> Option<u32> {
    let count = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok()??;
    u32::try_from(count).ok()
}

/// Whether the kernel keeps the time of interrupts apart from the CPU times of processes. If that is
/// unknown, the answer is yes: then the time of other programs is a lower bound.
fn interrupts_are_apart() -> bool {
    irq_time_accounting().unwrap_or(true)
}

/// Whether the kernel was built with CONFIG_IRQ_TIME_ACCOUNTING. `None` if its configuration is not
/// readable.
pub(crate) fn irq_time_accounting() -> Option<bool> {
    let config = procfs::kernel_config().ok()?;
    Some(matches!(config.get("CONFIG_IRQ_TIME_ACCOUNTING"), Some(ConfigSetting::Yes)))
}
