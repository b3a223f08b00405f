//! How many clients a server serves at the same time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long a client waits to be connected, and for its message. Being served takes well below a
/// millisecond.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// Between two looks at those who still wait.
const GLANCE: Duration = Duration::from_millis(1);
/// What each client sends.
const MESSAGE: [u8; 64] = [b'?'; 64];

/// Connects `clients` clients who stay, has each send one message, and counts those who have it
/// back. The others are connected too, as far as the kernel goes: they wait for a place. If its
/// queue is too short even for that, those who are left do not try.
///
/// # Errors
///
/// When a client cannot connect, or its connection fails.
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
