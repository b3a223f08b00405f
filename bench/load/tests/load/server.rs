//! Servers with a known flaw, as threads of the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A listening server. Dropping the value stops it.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    stop: Arc<AtomicBool>,
    acceptor: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Serves each client on its own thread. `serve` gets the client's number and its stream.
    pub(crate) fn start(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, serve) = (Arc::new(AtomicBool::new(false)), Arc::new(serve));
        let stopped = Arc::clone(&stop);
        let acceptor = thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (stream, serve) = (stream.unwrap(), Arc::clone(&serve));
                stream.set_nodelay(true).unwrap();
                thread::spawn(move || serve(number, stream));
            }
        });
        Server { addr, stop, acceptor: Some(acceptor) }
    }

    /// A server without a flaw.
    pub(crate) fn echo() -> Server {
        Server::with_flaw(|_, _| Flaw::None)
    }

    /// An echo server that calls `flaw` after each read. `flaw` gets the number of bytes echoed before
    /// and the received bytes, may change these bytes, and says what to do with them.
    pub(crate) fn with_flaw(
        flaw: impl Fn(u64, &mut Vec<u8>) -> Flaw + Send + Sync + 'static,
    ) -> Server {
        Server::start(move |_, stream| echo(stream, &flaw))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr); // Wakes the acceptor.
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// What a server does with the received bytes.
pub(crate) enum Flaw {
    /// Sends them back at once.
    None,
    /// Sends them back after this time.
    Delay(Duration),
    /// Sends each byte by itself.
    Trickle,
    /// Closes the connection.
    Close,
    /// Sends them back and closes the connection.
    LastWords,
    /// Resets the connection.
    Reset,
    /// Sends nothing, and keeps the connection open.
    Silence,
}

fn echo(mut stream: TcpStream, flaw: &impl Fn(u64, &mut Vec<u8>) -> Flaw) {
    let (mut buffer, mut echoed) = (vec![0; 64 * 1024], 0);
    while let Ok(received) = stream.read(&mut buffer)
        && received > 0
    {
        let mut bytes = buffer[..received].to_vec();
        let sent = match flaw(echoed, &mut bytes) {
            Flaw::None => stream.write_all(&bytes),
            Flaw::Delay(delay) => {
                thread::sleep(delay);
                stream.write_all(&bytes)
            }
            Flaw::Trickle => bytes.iter().try_for_each(|byte| stream.write_all(&[*byte])),
            Flaw::Close => return,
            Flaw::LastWords => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Flaw::Reset => {
                let socket = socket2::Socket::from(stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            Flaw::Silence => Ok(()),
        };
        if sent.is_err() {
            return;
        }
        echoed += received as u64;
    }
}
