//! The four kinds of sockets, a client for each, and a handler that shows what runs when.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockAddr, Type};
use socketserver::{Address, Datagram, Failure, Handler, Request, Socket};

/// Far longer than anything here takes: a wait this long is a failure, not a slow machine.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// Long enough to see that something does not happen.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    UnixStream,
    Udp,
    UnixDatagram,
}

pub(crate) const STREAMS: [Kind; 2] = [Kind::Tcp, Kind::UnixStream];
pub(crate) const DATAGRAMS: [Kind; 2] = [Kind::Udp, Kind::UnixDatagram];

impl Kind {
    /// Where a server of this kind can be bound: a free port, or a path of its own.
    pub(crate) fn any_address(self) -> Address {
        match self {
            Kind::Tcp | Kind::Udp => Address::Tcp(([127, 0, 0, 1], 0).into()),
            Kind::UnixStream | Kind::UnixDatagram => Address::Unix(unused_path()),
        }
    }

    pub(crate) fn is_stream(self) -> bool {
        STREAMS.contains(&self)
    }
}

/// Waits until `condition` holds.
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
}

fn unused_path() -> PathBuf {
    static USED: AtomicU64 = AtomicU64::new(0);
    let number = USED.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("socketserver-{}-{number}", std::process::id()))
}

/// A client of a server of any kind.
pub(crate) struct Client {
    pub(crate) socket: Socket,
    /// A Unix-domain socket can be answered only if it is bound.
    path: Option<PathBuf>,
}

impl Client {
    /// Connects, and sends a request. For a stream, the connection is the request. For a datagram,
    /// the request is `hello`.
    pub(crate) fn request(kind: Kind, server: &Address) -> Client {
        let client = Client::connect(kind, server);
        if !kind.is_stream() {
            client.socket.send(b"hello").unwrap();
        }
        client
    }

    pub(crate) fn connect(kind: Kind, server: &Address) -> Client {
        let kind_of_socket = if kind.is_stream() { Type::STREAM } else { Type::DGRAM };
        let socket = Socket::new(server.domain(), kind_of_socket, None).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let path = (kind == Kind::UnixDatagram).then(unused_path);
        if let Some(path) = &path {
            socket.bind(&SockAddr::unix(path).unwrap()).unwrap();
        }
        socket.connect(&server.to_sockaddr().unwrap()).unwrap();
        Client { socket, path }
    }

    /// Everything that the server has sent, once the request has ended: to the end of a stream, or
    /// all datagrams that have arrived.
    pub(crate) fn received(mut self) -> String {
        let mut received = Vec::new();
        if self.socket.r#type().unwrap() == Type::STREAM {
            self.socket.read_to_end(&mut received).unwrap();
        } else {
            self.socket.set_nonblocking(true).unwrap();
            while let Some(datagram) = self.datagram() {
                received.extend_from_slice(&datagram);
            }
        }
        String::from_utf8(received).unwrap()
    }

    /// The next bytes; `None` when there are none for [`LONG`].
    pub(crate) fn datagram(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 128];
        match (&self.socket).read(&mut buffer) {
            Ok(received) => Some(buffer[..received].to_vec()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// A request that can be answered, whatever its kind.
pub(crate) trait Answer: Request {
    fn answer(&self, bytes: &[u8]) -> io::Result<()>;
}

impl Answer for Socket {
    fn answer(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self;
        stream.write_all(bytes)
    }
}

impl Answer for Datagram {
    fn answer(&self, bytes: &[u8]) -> io::Result<()> {
        self.reply(bytes)
    }
}

/// What a step does behind its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Succeed,
    Fail,
    Panic,
}

/// Each step sends its letter to the client: `v`, `s`, `h`, `f`, and `!` for a failure. So the
/// client sees what runs, and in which order, even when another process serves it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letters {
    pub(crate) verify: Act,
    pub(crate) setup: Act,
    pub(crate) handle: Act,
    pub(crate) finish: Act,
}

/// Every step succeeds.
pub(crate) const WELL: Letters = Letters {
    verify: Act::Succeed,
    setup: Act::Succeed,
    handle: Act::Succeed,
    finish: Act::Succeed,
};

/// What a handler does, and the letters that its client then sees.
pub(crate) const LIVES: [(Letters, &str); 9] = [
    (WELL, "vshf"),
    (Letters { verify: Act::Fail, ..WELL }, "v"),
    (Letters { verify: Act::Panic, ..WELL }, "v!"),
    (Letters { setup: Act::Fail, ..WELL }, "vs!"),
    (Letters { setup: Act::Panic, ..WELL }, "vs!"),
    (Letters { handle: Act::Fail, ..WELL }, "vsh!f"),
    (Letters { handle: Act::Panic, ..WELL }, "vsh!f"),
    (Letters { handle: Act::Panic, finish: Act::Fail, ..WELL }, "vsh!f!"),
    (Letters { finish: Act::Panic, ..WELL }, "vshf!"),
];

fn step(request: &impl Answer, letter: &str, act: Act) -> io::Result<()> {
    request.answer(letter.as_bytes())?;
    match act {
        Act::Succeed => Ok(()),
        Act::Fail => Err(io::Error::other("as the test wants it")),
        Act::Panic => panic!("as the test wants it"),
    }
}

impl<R: Answer> Handler<R> for Letters {
    type Session = ();

    fn verify(&self, request: &R) -> bool {
        step(request, "v", self.verify).is_ok()
    }

    fn setup(&self, request: &R) -> io::Result<()> {
        step(request, "s", self.setup)
    }

    fn handle(&self, (): &mut (), request: &R) -> io::Result<()> {
        step(request, "h", self.handle)
    }

    fn finish(&self, (): (), request: &R) -> io::Result<()> {
        step(request, "f", self.finish)
    }

    fn failed(&self, request: &R, _: Failure) {
        let _ = request.answer(b"!");
    }
}
