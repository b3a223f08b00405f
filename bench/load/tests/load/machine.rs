//! The CPU time of the server, and of other programs.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::{Address, Control, MachineMeter, MachineUse, ServerSide};
use nix::unistd::{Pid, getpid};
use server_process::proc;

/// The resolution of the readings, and a little more.
const MARGIN: Duration = Duration::from_millis(100);

/// A script that uses the CPU time that nobody else wants. Dropping the value ends it.
struct Burner(Child);

impl Burner {
    fn start(script: &str) -> Burner {
        let mut command = Command::new("nice");
        let command = command.args(["-n", "19", "sh", "-c", script]).stdin(Stdio::null());
        Burner(command.spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the condition holds.
fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "the script had no CPU time");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_listening_process_is_found() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let any = TcpListener::bind("[::]:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let path = std::env::temp_dir().join(format!("loadgen-machine-{}.sock", std::process::id()));
    let unix = UnixListener::bind(&path).unwrap();
    let any_port = any.local_addr().unwrap().port();
    for address in [
        Address::Tcp(tcp.local_addr().unwrap()),
        Address::Tcp(([127, 0, 0, 1], any_port).into()),
        Address::Udp(udp.local_addr().unwrap()),
        Address::Unix(path.clone()),
    ] {
        assert_eq!(ServerSide::find(&address), ServerSide::Here(vec![getpid()]), "{address}");
    }
    drop(unix);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ServerSide::find(&Address::Unix(path)), ServerSide::Unknown);
    // 192.0.2.0/24 is for documentation: no machine has it (RFC 5737).
    let elsewhere = Address::Tcp(([192, 0, 2, 1], 7000).into());
    assert_eq!(ServerSide::find(&elsewhere), ServerSide::Elsewhere);
}

#[test]
fn a_busy_neighbour_is_in_the_cpu_time_of_others() {
    let control = Control::default();
    let burner = Burner::start("while :; do :; done");
    let meter = MachineMeter::start(&ServerSide::Elsewhere, &control);
    let before = proc::cpu_time(burner.pid()).unwrap();
    let burnt = || proc::cpu_time(burner.pid()).unwrap() - before;
    wait_until(|| burnt() > Duration::from_millis(300));
    let burnt = burnt();
    let machine = meter.stop();
    let others = machine.others.unwrap();
    assert!(others + MARGIN > burnt, "{others:?} of {burnt:?}");
    assert_eq!(machine.server, None);
}

#[test]
fn the_server_and_its_children_are_not_others() {
    let control = Control::default();
    // A server with a child that ends, and one that stays.
    let server = Burner::start(
        "(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done); sh -c 'while :; do :; done' & wait",
    );
    let side = ServerSide::given(&[server.pid().as_raw()]).unwrap();
    let meter = MachineMeter::start(&side, &control);
    let ended = || {
        let times = proc::times(server.pid()).unwrap();
        times.reaped_user + times.reaped_system
    };
    let stays = || {
        let tree = proc::processes(server.pid()).unwrap();
        tree.get(1).map_or(Duration::ZERO, |child| proc::cpu_time(*child).unwrap_or_default())
    };
    let enough = Duration::from_millis(50);
    wait_until(|| ended() > enough && stays() > 3 * enough);
    let (ended, stays) = (ended(), stays());
    let machine = meter.stop();
    let tree = proc::processes(server.pid()).unwrap();
    let measured = machine.server.unwrap();
    assert!(measured + MARGIN > stays + ended, "{measured:?} of {stays:?} and {ended:?}");
    // All programs together cannot use more than the machine has.
    let processors = thread::available_parallelism().unwrap().get() as u32;
    let all = machine.others.unwrap() + measured;
    assert!(all < machine.elapsed * processors + MARGIN, "{all:?} in {:?}", machine.elapsed);
    for pid in tree.into_iter().skip(1) {
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
}

#[test]
fn a_process_that_does_not_exist_is_refused() {
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let pid = ended.id().cast_signed();
    let error = ServerSide::given(&[pid]).unwrap_err().to_string();
    assert!(error.contains(&format!("no server process {pid} here")), "{error}");
}

#[test]
fn a_twentieth_of_a_core_is_a_disturbance() {
    let used = |others, steal| MachineUse {
        elapsed: Duration::from_secs(10),
        messages: 0,
        server: None,
        others,
        steal,
        interrupts: None,
    };
    let (some, much) = (Duration::from_millis(490), Duration::from_millis(560));
    assert_eq!(used(Some(some), Some(some)).disturbed(), Some(false));
    assert_eq!(used(Some(much), None).disturbed(), Some(true));
    assert_eq!(used(None, Some(much)).disturbed(), Some(true));
    assert_eq!(used(None, None).disturbed(), None);
    assert_eq!(used(None, None).cores(Duration::from_secs(5)), 0.5);
}
