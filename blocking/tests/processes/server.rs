//! The server of a test: this program, started again, with one thread.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Command, id};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use server_process::process::Process;
use socketserver::{Address, Concurrency, Datagram, Handler, Server, Socket};

use crate::common::{Answer, Kind, LIVES, LONG, WELL};

/// Starts a server. `mode` says what it does: see [`serve`].
pub(crate) fn start(kind: Kind, mode: &str, argument: &str) -> (Process, Address) {
    let server = Process::start(&mut command(kind, mode, argument)).unwrap();
    let address = address(&server);
    (server, address)
}

pub(crate) fn command(kind: Kind, mode: &str, argument: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["serve", &format!("{kind:?}"), mode, argument]);
    command
}

pub(crate) fn address(server: &Process) -> Address {
    server.addr().to_string().parse().unwrap()
}

/// A server until SIGTERM, or until it has found what it was started for.
pub(crate) fn serve(arguments: &[String]) {
    let [kind, mode, argument] = arguments else { panic!("{arguments:?}") };
    let kinds = [Kind::Tcp, Kind::UnixStream, Kind::Udp, Kind::UnixDatagram];
    let kind = kinds.into_iter().find(|known| format!("{known:?}") == *kind).unwrap();
    if kind.is_stream() {
        serve_kind::<Socket>(kind, mode, argument);
    } else {
        serve_kind::<Datagram>(kind, mode, argument);
    }
}

fn serve_kind<R: Answer>(kind: Kind, mode: &str, argument: &str) {
    // SAFETY: this process has one thread when it serves with processes.
    let processes = unsafe { Concurrency::processes() };
    match mode {
        // A process for each request, which lives the life of this number.
        "life" => run::<R>(kind, processes, LIVES[argument.parse::<usize>().unwrap()].0, LONG),
        // A process for each request, which ends when the file `argument` is removed.
        "hold" => run::<R>(kind, processes, hold::<R>(argument), LONG),
        // The same, and a close that does not wait long.
        "hold-briefly" => {
            run::<R>(kind, processes, hold::<R>(argument), Duration::from_millis(100))
        }
        "threads" => run::<R>(kind, Concurrency::threads(), WELL, LONG),
        "own-child" => keep_own_child::<R>(kind),
        "few-descriptors" => serve_with_few_descriptors(kind, argument.parse().unwrap()),
        "failed-binds" => bind_in_vain::<R>(kind),
        _ => panic!("{mode}"),
    }
}

fn run<R: Answer>(kind: Kind, concurrency: Concurrency, handler: impl Handler<R>, drain: Duration) {
    let mut server = bind(kind, concurrency, handler);
    println!("listening on {}", server.address().unwrap());
    server.serve_forever().unwrap();
    server.close(drain);
}

fn bind<R: Answer, H: Handler<R>>(
    kind: Kind,
    concurrency: Concurrency,
    handler: H,
) -> Server<R, H> {
    let server = Server::bind(&kind.any_address(), concurrency, handler).unwrap();
    server.stopper().request_on_signals().unwrap();
    server
}

/// Answers with the id of its process, and once more when `gate` is removed.
fn hold<R: Answer>(gate: &str) -> impl Fn(&R) -> io::Result<()> + use<R> {
    let gate = PathBuf::from(gate);
    move |request: &R| {
        request.answer(id().to_string().as_bytes())?;
        while gate.exists() {
            thread::sleep(Duration::from_millis(5));
        }
        request.answer(b"end")
    }
}

/// Starts a child that the server has nothing to do with, and takes its exit status after many
/// requests.
fn keep_own_child<R: Answer>(kind: Kind) {
    // SAFETY: this process has one thread.
    let processes = unsafe { Concurrency::processes() };
    let mut own = Command::new("sh").args(["-c", "exit 72"]).spawn().unwrap();
    run::<R>(kind, processes, WELL, LONG);
    assert_eq!(own.wait().unwrap().code(), Some(72));
}

/// Serves with `spare` descriptors more than the server itself has.
fn serve_with_few_descriptors(kind: Kind, spare: usize) {
    let mut server = bind(kind, Concurrency::threads(), |mut stream: &Socket| {
        stream.answer(b"begun")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    // The limit is not on the count but on the number, and this process may have inherited high
    // ones.
    let is_free = |number: &u64| !fs::exists(format!("/proc/self/fd/{number}")).unwrap();
    let limit = (0..).filter(is_free).nth(spare).unwrap();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, limit, most).unwrap();
    println!("listening on {}", server.address().unwrap());
    server.serve_forever().unwrap();
}

/// [test_tcpserver_bind_leak] Binds an address 1024 times that is taken.
fn bind_in_vain<R: Answer>(kind: Kind) {
    let server = bind::<R, _>(kind, Concurrency::threads(), WELL);
    let address = server.address().unwrap();
    let before = descriptors();
    for _ in 0..1024 {
        assert!(Server::<R, _>::bind(&address, Concurrency::threads(), WELL).is_err());
    }
    assert_eq!(descriptors(), before);
}

/// The descriptors that this process has open.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1 // Without the directory's own.
}
