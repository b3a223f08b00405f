//! Several machines: network namespaces, joined to the server's by a virtual cable (veth(4)).
//!
//! The test starts itself again in new user and network namespaces, where it may do what root may.
//! It is skipped, with a line that says so, where the kernel or the container forbids that.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::cli::{json, loadgen};
use crate::server::Server;

/// Set in the process inside the namespaces.
const INSIDE: &str = "LOADGEN_TEST_INSIDE";

/// Runs a program, and panics if it fails.
fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
}

/// A machine with one cable to the server's. Dropping the value removes it.
struct Machine {
    /// A process that keeps the namespace alive.
    holder: Child,
    number: usize,
}

impl Machine {
    fn new(number: usize) -> Machine {
        let holder = Command::new("unshare").args(["--net", "sleep", "60"]).spawn().unwrap();
        let machine = Machine { holder, number };
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        let began = Instant::now();
        // unshare(1) has a namespace of its own a moment after its start.
        while fs::read_link(machine.namespace()).is_ok_and(|its| its == ours) {
            assert!(began.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(5));
        }
        let (pid, namespace) = (machine.holder.id(), machine.namespace().display().to_string());
        run(&format!("ip link add veth{number} type veth peer name eth0 netns {pid}"));
        run(&format!("ip address add 10.0.{number}.1/24 dev veth{number}"));
        run(&format!("ip link set veth{number} up"));
        run(&format!("nsenter --net={namespace} ip address add 10.0.{number}.2/24 dev eth0"));
        run(&format!("nsenter --net={namespace} ip link set eth0 up"));
        machine
    }

    fn namespace(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.id()).into()
    }

    /// Starts a client on this machine.
    fn start(&self, port: u16, since: &str, log: &str) -> Child {
        let server = format!("10.0.{}.1:{port}", self.number);
        Command::new("nsenter")
            .arg(format!("--net={}", self.namespace().display()))
            .arg(env!("CARGO_BIN_EXE_loadgen"))
            .args([&server, "-c", "4", "-d", "2s", "--warmup", "0s", "--start-at", since])
            .args(["--json", "--log", log])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn clients_on_two_machines_start_together_and_are_added_up() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    let unshare = ["--user", "--map-root-user", "--net"];
    let permitted = Command::new("unshare").args(unshare).args(["ip", "link"]).output();
    if !permitted.is_ok_and(|output| output.status.success()) {
        // Written past the test harness, which hides the output of a passing test.
        let text =
            "skipped: a user namespace with a network is not permitted, or ip(8) is missing\n";
        let _ = std::io::stderr().write_all(text.as_bytes());
        return;
    }
    let name = "machines::clients_on_two_machines_start_together_and_are_added_up";
    let output = Command::new("timeout")
        .args(["-s", "KILL", "120", "unshare"])
        .args(unshare)
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:#?}");
}

fn inside() {
    run("ip link set lo up");
    let machines = [Machine::new(1), Machine::new(2)];
    let server = Server::echo_at("0.0.0.0:0");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("machines");
    fs::create_dir_all(&dir).unwrap();
    let logs = ["1", "2"].map(|name| dir.join(name).to_string_lossy().into_owned());
    let at = SystemTime::now() + Duration::from_secs(4);
    let since = at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64().to_string();
    let clients: Vec<Child> = machines
        .iter()
        .zip(&logs)
        .map(|(machine, log)| machine.start(server.addr.port(), &since, log))
        .collect();
    for client in clients {
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(json(&output)["server"]["location"], "elsewhere");
    }
    let sum = json(&loadgen(&["merge", &logs[0], &logs[1], "--json"]));
    assert!(sum["result"]["common_seconds"].as_f64().unwrap() > 1.8, "{sum}");
    assert!(sum["result"]["messages_per_second"].as_f64().unwrap() > 0.0, "{sum}");
    assert_eq!(sum["invalid"], serde_json::Value::Array(Vec::new()));
}
