//! A process for each request: its life, its bound, its end.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use server_process::process::{Ended, Process};
use socketserver::CHILDREN_MAX;

use crate::common::{A_MOMENT, Client, DATAGRAMS, Kind, LIVES, LONG, STREAMS, until};
use crate::server;

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("forking_tcp_server", || run_server(Kind::Tcp)),
    ("forking_unix_stream_server", || run_server(Kind::UnixStream)),
    ("forking_udp_server", || run_server(Kind::Udp)),
    ("forking_unix_datagram_server", || run_server(Kind::UnixDatagram)),
    ("with_processes_each_life_has_its_steps_in_order_and_ends_in_a_close", lives),
    ("at_most_40_children_serve_and_they_are_reaped", at_most_40_children),
    ("a_custom_child_is_not_waited_on", custom_child),
    ("a_child_that_is_killed_concerns_its_client_alone", killed_child),
    ("a_close_kills_the_children_that_do_not_end", close_kills),
    ("a_child_does_not_keep_the_listener_open", child_closes_the_listener),
];

fn all_kinds() -> impl Iterator<Item = Kind> {
    STREAMS.into_iter().chain(DATAGRAMS)
}

/// A file that keeps the children of `hold` busy while it exists.
struct Gate(PathBuf);

impl Gate {
    fn new(name: &str, kind: Kind) -> Gate {
        let name = format!("socketserver-{}-{name}-{kind:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, "").unwrap();
        Gate(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn open(&self) {
        fs::remove_file(&self.0).unwrap();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The next answer as text.
fn answer(client: &Client) -> String {
    String::from_utf8(client.datagram().unwrap()).unwrap()
}

/// The children of a process. A child that nobody has reaped is one of them.
fn children(server: &Process) -> usize {
    let pid = server.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().count()
}

fn stop(server: Process) -> Ended {
    let ended = server.stop(LONG).unwrap();
    assert!(ended.is_success(), "{ended:?}");
    assert!(!ended.left_children);
    ended
}

/// [test_ForkingTCPServer, test_ForkingUnixStreamServer, test_ForkingUDPServer,
/// test_ForkingUnixDatagramServer]
fn run_server(kind: Kind) {
    let (server, address) = server::start(kind, "life", "0");
    for _ in 0..3 {
        let client = Client::request(kind, &address);
        let seen = if kind.is_stream() {
            client.received()
        } else {
            (0..4).map(|_| answer(&client)).collect()
        };
        assert_eq!(seen, "vshf");
    }
    stop(server);
}

/// [ErrorHandlerTest.test_forking_handled]
fn lives() {
    for (number, (handler, expected)) in LIVES.iter().enumerate() {
        for kind in all_kinds() {
            let (server, address) = server::start(kind, "life", &number.to_string());
            let client = Client::request(kind, &address);
            // The first letter comes from the server itself: it has taken the request.
            let first = answer(&client);
            stop(server);
            let seen = first + &client.received();
            assert_eq!(&seen, expected, "{kind:?} {handler:?}");
        }
    }
}

fn at_most_40_children() {
    for kind in all_kinds() {
        let gate = Gate::new("bound", kind);
        let (server, address) = server::start(kind, "hold", gate.path());
        let clients: Vec<_> =
            (0..CHILDREN_MAX + 2).map(|_| Client::request(kind, &address)).collect();
        let (first, last) = clients.split_at(CHILDREN_MAX);
        let mut pids: Vec<_> = first.iter().map(answer).collect();
        thread::sleep(A_MOMENT);
        assert_eq!(children(&server), CHILDREN_MAX);
        for client in last {
            client.socket.set_nonblocking(true).unwrap();
            assert_eq!(client.datagram(), None, "{kind:?}: one too many");
            client.socket.set_nonblocking(false).unwrap();
        }
        gate.open();
        pids.extend(last.iter().map(answer));
        pids.sort();
        pids.dedup();
        assert_eq!(pids.len(), CHILDREN_MAX + 2, "{kind:?}: a process for each request");
        // Those that have ended are reaped while the server waits for the next request.
        until(|| children(&server) == 0);
        stop(server);
    }
}

/// [simple_subprocess]
fn custom_child() {
    for kind in all_kinds() {
        let (server, address) = server::start(kind, "own-child", "");
        for _ in 0..3 {
            assert_eq!(answer(&Client::request(kind, &address)).chars().next(), Some('v'));
        }
        stop(server);
    }
}

fn killed_child() {
    for kind in all_kinds() {
        let gate = Gate::new("killed", kind);
        let (server, address) = server::start(kind, "hold", gate.path());
        let clients = [Client::request(kind, &address), Client::request(kind, &address)];
        let [killed, kept] = clients.each_ref().map(answer);
        kill(Pid::from_raw(killed.parse().unwrap()), Signal::SIGKILL).unwrap();
        until(|| children(&server) == 1);
        let [client, other] = clients;
        if kind.is_stream() {
            assert_eq!(client.received(), "");
        }
        gate.open();
        assert_eq!(answer(&other), "end", "{kind:?} {kept}");
        let ended = stop(server);
        assert!(
            ended.stderr.contains(&format!("child {killed} was ended by SIGKILL")),
            "{ended:?}"
        );
    }
}

fn close_kills() {
    for kind in all_kinds() {
        let gate = Gate::new("kills", kind);
        let (server, address) = server::start(kind, "hold-briefly", gate.path());
        let client = Client::request(kind, &address);
        answer(&client);
        stop(server);
        assert_eq!(client.received(), "");
    }
}

/// An old child that is busy must not keep a restarted server from its address, nor queue clients
/// that nobody will serve.
fn child_closes_the_listener() {
    for kind in STREAMS {
        let gate = Gate::new("listener", kind);
        let (mut server, address) = server::start(kind, "hold", gate.path());
        let client = Client::request(kind, &address);
        answer(&client);
        server.signal(Signal::SIGTERM).unwrap();
        let late = || {
            let late = socketserver::Socket::new(address.domain(), socket2::Type::STREAM, None);
            late.unwrap().connect(&address.to_sockaddr().unwrap()).map_err(|error| error.kind())
        };
        let refused = [Err(ErrorKind::ConnectionRefused), Err(ErrorKind::NotFound)];
        until(|| refused.contains(&late()));
        assert_eq!(children(&server), 1, "{kind:?}: it still serves");
        gate.open();
        let mut socket = &client.socket;
        let mut end = String::new();
        socket.read_to_string(&mut end).unwrap();
        assert_eq!(end, "end");
        assert!(server.wait(LONG).unwrap().unwrap().is_success());
    }
}
