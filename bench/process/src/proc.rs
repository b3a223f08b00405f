//! What proc(5) says of a process, its threads and its descendants, and of the machine. Linux only.
//!
//! Every function fails when the process has ended, and when /proc lacks the value.
//!
//! Not here: the crate procfs. It parses every field of a file, where one or two are needed here, and
//! every server's tests would compile it and four crates that it needs.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use nix::errno::Errno;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// The process `root` and all its descendants, `root` first. Descendants that have ended count until
/// their parent has waited for them.
///
/// # Errors
///
/// `NotFound` when `root` itself has ended, even if nobody has waited for it yet.
pub fn processes(root: Pid) -> io::Result<Vec<Pid>> {
    if matches!(state(root), Ok('Z' | 'X') | Err(_)) {
        return Err(io::Error::new(ErrorKind::NotFound, "the server has ended"));
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        for task in tasks(pid)? {
            match fs::read_to_string(path(pid, &format!("task/{task}/children"))) {
                Ok(children) => {
                    let pids = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
                    found.extend(pids.map(Pid::from_raw));
                }
                // This thread runs: the kernel was built without CONFIG_PROC_CHILDREN.
                Err(error) if task == root && state(root).is_ok() => return Err(error),
                // A thread may have ended since; its children have passed to its siblings.
                Err(_) => {}
            }
        }
        next += 1;
    }
    Ok(found)
}

/// Whether an error of these functions says that the process has ended. Other errors say that a file
/// cannot be read.
pub fn has_ended(error: &io::Error) -> bool {
    let gone = [Errno::ENOENT, Errno::ESRCH].map(|errno| Some(errno as i32));
    // The files of a process that has ended, and was not waited for, lack most values.
    gone.contains(&error.raw_os_error()) || error.kind() == ErrorKind::InvalidData
}

/// The threads of one process. There are none when the process has ended.
pub fn tasks(pid: Pid) -> io::Result<Vec<Pid>> {
    let entries = match fs::read_dir(path(pid, "task")) {
        Ok(entries) => entries,
        // The kernel answers with one or the other, depending on how far the process has ended.
        Err(error) if has_ended(&error) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(names.map(Pid::from_raw).collect())
}

/// The number of open descriptors of one process.
///
/// # Errors
///
/// Those of reading the directory. After the end of the process, nobody can read it.
pub fn descriptors(pid: Pid) -> io::Result<usize> {
    Ok(fs::read_dir(path(pid, "fd"))?.count())
}

/// A number from a file of `Name:   value` lines, such as `status`. The file decides the unit.
pub fn field(pid: Pid, file: &str, name: &str) -> io::Result<u64> {
    let value = line(pid, file, name)?;
    let number = value.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    number.ok_or_else(|| lacks(file, name))
}

/// The text after `name:` in a file of the process.
fn line(pid: Pid, file: &str, name: &str) -> io::Result<String> {
    let text = fs::read_to_string(path(pid, file))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(|value| value.trim().to_owned()).ok_or_else(|| lacks(file, name))
}

/// The state of a process, from `stat`. R: it runs or could run. S: it sleeps. T: a signal has stopped it.
/// Z: it has ended, and its parent has not waited for it.
pub fn state(pid: Pid) -> io::Result<char> {
    state_in(&path(pid, "stat"))
}

/// The [`state`] of one thread of a process.
pub fn task_state(pid: Pid, task: Pid) -> io::Result<char> {
    state_in(&path(pid, &format!("task/{task}/stat")))
}

fn state_in(stat: &PathBuf) -> io::Result<char> {
    let text = fs::read_to_string(stat)?;
    let state = stat_fields(&text).next().and_then(|field| field.chars().next());
    state.ok_or_else(|| lacks("stat", "state"))
}

/// Whether a signal to the whole process is pending: sent, and not yet delivered (ShdPnd of `status`).
pub fn has_signal_pending(pid: Pid) -> io::Result<bool> {
    Ok(line(pid, "status", "ShdPnd")?.bytes().any(|digit| digit != b'0'))
}

/// The CPU time of a process so far, user and system. It includes threads that have ended. The source is
/// the clock of the process (clock_getcpuclockid(3)), which counts nanoseconds.
pub fn cpu_time(pid: Pid) -> io::Result<Duration> {
    let time = clock_getcpuclockid(pid).and_then(clock_gettime);
    // A clock is only a number: after its process has ended, reading it fails with EINVAL.
    Ok(time.map_err(|errno| if errno == Errno::EINVAL { Errno::ESRCH } else { errno })?.into())
}

/// The CPU times of a process, from `stat`. The kernel counts them in ticks, usually of 10 ms.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Time in user mode, including threads that have ended.
    pub user: Duration,
    /// Time in the kernel, including threads that have ended.
    pub system: Duration,
    /// Time in user mode of the children that the process has waited for.
    pub reaped_user: Duration,
    /// Time in the kernel of the children that the process has waited for.
    pub reaped_system: Duration,
}

/// The CPU times of one process.
pub fn times(pid: Pid) -> io::Result<Times> {
    let text = fs::read_to_string(path(pid, "stat"))?;
    let mut fields = stat_fields(&text).skip(11).map(|field| field.parse().ok());
    let mut next =
        || fields.next().flatten().map(ticks).ok_or_else(|| lacks("stat", "field 14 to 17"));
    Ok(Times { user: next()?, system: next()?, reaped_user: next()?, reaped_system: next()? })
}

/// The time of a thread in the scheduler so far (`schedstat`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Scheduled {
    /// The time in which the thread ran.
    pub on_cpu: Duration,
    /// The time in which the thread could have run, and waited for a CPU.
    pub waiting: Duration,
}

/// The time of one thread of a process in the scheduler.
pub fn scheduled(pid: Pid, task: Pid) -> io::Result<Scheduled> {
    let text = fs::read_to_string(path(pid, &format!("task/{task}/schedstat")))?;
    let mut fields = text.split_ascii_whitespace().map(|field| field.parse().ok());
    let mut next = || {
        let time = fields.next().flatten().map(Duration::from_nanos);
        time.ok_or_else(|| lacks("schedstat", "field 1 and 2"))
    };
    Ok(Scheduled { on_cpu: next()?, waiting: next()? })
}

/// The time of all processors, from the first line of /proc/stat: user, nice, system, idle, iowait, irq,
/// softirq, steal, and the times of guests. The first two include the times of guests.
pub fn machine_times() -> io::Result<Vec<Duration>> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let line = line.ok_or_else(|| io::Error::other("/proc/stat does not begin with cpu"))?;
    Ok(line.split_ascii_whitespace().filter_map(|field| field.parse().ok()).map(ticks).collect())
}

/// The name of the first processor.
pub fn cpu_model() -> io::Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map(|(_, model)| model.trim().to_owned());
    model.ok_or_else(|| io::Error::other("/proc/cpuinfo names no model"))
}

/// The number of connections that wait to be accepted, at all TCP listeners on `port`. `None` when no
/// listener on `port` is on this machine.
pub fn accept_queue(port: u16) -> io::Result<Option<usize>> {
    let mut waiting = None;
    for_each_tcp_socket(|socket| {
        if socket.state == LISTEN && socket.local_port == port {
            *waiting.get_or_insert(0) += socket.receive_queue;
        }
    })?;
    Ok(waiting)
}

/// The number of bytes that the TCP socket with these ports has sent and the peer's kernel has not
/// acknowledged. `None` when the socket is not on this machine.
pub fn unacknowledged(local_port: u16, remote_port: u16) -> io::Result<Option<usize>> {
    let mut bytes = None;
    for_each_tcp_socket(|socket| {
        if socket.local_port == local_port && socket.remote_port == remote_port {
            bytes = Some(socket.send_queue);
        }
    })?;
    Ok(bytes)
}

/// A line of /proc/net/tcp.
struct TcpSocket<'a> {
    local_port: u16,
    remote_port: u16,
    state: &'a str,
    /// Bytes that the peer has not acknowledged.
    send_queue: usize,
    /// Bytes that the process has not read. Of a listener, connections that it has not accepted.
    receive_queue: usize,
}

/// The state of a listener.
const LISTEN: &str = "0A";

/// Looks at all TCP sockets of this machine, in /proc/net/tcp and /proc/net/tcp6.
fn for_each_tcp_socket(mut look: impl FnMut(TcpSocket)) -> io::Result<()> {
    look_at_each(&fs::read_to_string("/proc/net/tcp")?, &mut look);
    // A kernel without IPv6 has no such file.
    look_at_each(&fs::read_to_string("/proc/net/tcp6").unwrap_or_default(), &mut look);
    Ok(())
}

fn look_at_each(text: &str, look: &mut impl FnMut(TcpSocket)) {
    let sockets = text.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (_, local) = fields.next()?.rsplit_once(':')?;
        let (_, remote) = fields.next()?.rsplit_once(':')?;
        let state = fields.next()?;
        let (sent, received) = fields.next()?.split_once(':')?;
        Some(TcpSocket {
            local_port: u16::from_str_radix(local, 16).ok()?,
            remote_port: u16::from_str_radix(remote, 16).ok()?,
            state,
            send_queue: usize::from_str_radix(sent, 16).ok()?,
            receive_queue: usize::from_str_radix(received, 16).ok()?,
        })
    });
    sockets.for_each(look);
}

/// The first word of a file, such as the load average of the last minute in /proc/loadavg.
pub fn word<T: FromStr>(file: &str) -> io::Result<T> {
    let text = fs::read_to_string(file)?;
    let word = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    word.ok_or_else(|| io::Error::other(format!("the first word of {file} has another form")))
}

/// The fields of `stat` from the third field, the state. The second field is the program's name in
/// brackets. The name may hold any character, also `)`.
fn stat_fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace()
}

/// Clock ticks, the unit of many times in proc(5), as a duration.
fn ticks(count: u64) -> Duration {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    Duration::from_secs(count) / u32::try_from(per_second).unwrap_or(100).max(1)
}

fn lacks(file: &str, name: &str) -> io::Error {
    let text = format!("/proc/PID/{file} has no {name}");
    io::Error::new(ErrorKind::InvalidData, text)
}

fn path(pid: Pid, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::Instant;

    use nix::unistd::getpid;

    use super::*;

    /// Waits until `pid` is in this state.
    fn wait_for(pid: Pid, wanted: char) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while state(pid).unwrap() != wanted {
            assert!(Instant::now() < deadline, "{pid} is not in the state {wanted}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_tree_has_all_generations_and_those_nobody_has_waited_for() {
        // The last program to run in the shell's process waits for no child.
        let script = "sleep 60 & (sleep 60 & exec sleep 60) & sleep 0.5 & exec sleep 60";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).stdout(Stdio::null());
        let mut shell = shell.spawn().unwrap();
        let root = Pid::from_raw(shell.id().cast_signed());
        let deadline = Instant::now() + Duration::from_secs(20);
        // The shell, two children that stay, one that ends, and a grandchild.
        while processes(root).unwrap().len() != 5 {
            assert!(Instant::now() < deadline, "{:?}", processes(root));
            thread::sleep(Duration::from_millis(2));
        }
        let all = processes(root).unwrap();
        assert_eq!(all[0], root);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !all.iter().any(|pid| state(*pid).unwrap() == 'Z') {
            assert!(Instant::now() < deadline, "no child has ended");
            thread::sleep(Duration::from_millis(2));
        }
        for pid in all {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        wait_for(root, 'Z');
        assert_eq!(processes(root).unwrap_err().kind(), ErrorKind::NotFound);
        shell.wait().unwrap();
        assert_eq!(processes(root).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_connection_that_nobody_has_accepted_is_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        assert_eq!(accept_queue(addr.port()).unwrap(), Some(0));
        let clients = [(); 2].map(|()| std::net::TcpStream::connect(addr).unwrap());
        assert_eq!(accept_queue(addr.port()).unwrap(), Some(2));
        drop(listener.accept().unwrap());
        assert_eq!(accept_queue(addr.port()).unwrap(), Some(1));
        drop((listener, clients));
        assert_eq!(accept_queue(addr.port()).unwrap(), None);
    }

    #[test]
    fn bytes_that_the_peer_has_not_acknowledged_are_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (client_port, port) =
            (client.local_addr().unwrap().port(), listener.local_addr().unwrap().port());
        assert_eq!(unacknowledged(client_port, port).unwrap(), Some(0));
        client.set_nonblocking(true).unwrap();
        // Nobody reads: after the buffers of the peer, that of the client fills.
        while io::Write::write(&mut client, &[0; 1 << 16]).is_ok() {}
        assert!(unacknowledged(client_port, port).unwrap() > Some(0));
        assert_eq!(unacknowledged(port, client_port).unwrap(), Some(0));
        assert_eq!(unacknowledged(port, 1).unwrap(), None);
    }

    #[test]
    fn our_own_figures_are_there() {
        let us = getpid();
        assert!(tasks(us).unwrap().contains(&us));
        assert!(descriptors(us).unwrap() >= 3);
        assert!(field(us, "status", "VmRSS").unwrap() > 100);
        assert!(field(us, "status", "NoSuchName").is_err());
        assert!(cpu_time(us).unwrap() > Duration::ZERO);
        assert!(scheduled(us, us).unwrap().on_cpu > Duration::ZERO);
        assert!(!has_signal_pending(us).unwrap());
        assert!(times(us).is_ok());
        assert!(machine_times().unwrap().len() >= 8);
        assert!(word::<f64>("/proc/loadavg").unwrap() >= 0.0);
    }
}
