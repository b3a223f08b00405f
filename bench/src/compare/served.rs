//! How many clients a server serves at the same time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The timeout of each connect, and of the wait for all echoes. An echo normally takes well below a
/// millisecond.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// The interval between two reads of the waiting clients.
const GLANCE: Duration = Duration::from_millis(1);
/// The message that each client sends.
const MESSAGE: [u8; 64] = [b'?'; 64];

/// Connects `clients` clients that stay connected, and sends one message from each. Returns the
/// number of clients that receive an echo before the timeout. The kernel has also connected the
/// other clients; they wait for a place in the server. If the kernel's queue is full, a connect
/// times out, and the remaining clients do not connect.
///
/// # Errors
///
/// Fails if a connect fails for another reason than its timeout, or if a connection fails.
pub(super) fn clients_served(addr: SocketAddr, clients: usize) -> io::Result<usize> {
    let mut waiting = Vec::with_capacity(clients);
    for _ in 0..clients {
        match connect(addr) {
            Ok(client) => waiting.push(client),
            Err(error) if error.kind() == ErrorKind::TimedOut => break,
            Err(error) => return Err(error),
        }
    }
    let mut served = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while !waiting.is_empty() && Instant::now() < deadline {
        thread::sleep(GLANCE);
        let mut still_waiting = Vec::new();
        for mut client in waiting {
            match client.read(&mut [0; MESSAGE.len()]) {
                Ok(0) => return Err(io::Error::other("the server closed a connection")),
                Ok(_) => served.push(client),
                Err(error) if error.kind() == ErrorKind::WouldBlock => still_waiting.push(client),
                Err(error) => return Err(error),
            }
        }
        waiting = still_waiting;
    }
    Ok(served.len())
}

/// Connects a client and sends its message. Returns the non-blocking stream.
fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let mut client = TcpStream::connect_timeout(&addr, PATIENCE)?;
    client.write_all(&MESSAGE)?;
    client.set_nonblocking(true)?;
    Ok(client)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_those_who_are_answered_count() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let serve = |_| {
                let (mut client, _) = listener.accept().unwrap();
                client.write_all(&MESSAGE).unwrap();
                client
            };
            let served: Vec<TcpStream> = (0..3).map(serve).collect();
            thread::sleep(2 * PATIENCE);
            drop(served);
        });
        assert_eq!(clients_served(addr, 5).unwrap(), 3);
        server.join().unwrap();
    }
}
