//! The echo service over a stream that blocks: the loop of the first model.

use std::io::{self, ErrorKind, Read, Write};

use crate::Scratch;

/// Echoes until the peer has sent all that it will send: read(2), write(2), again and again.
///
/// Every read has two phases. The kernel first **waits for data**, and then **copies the data** into our
/// buffer. Here the calling thread sleeps through the first phase. The I/O models differ in who waits in
/// that phase and where; in all of them except completion, the copy is made by a call of the server.
///
/// The thread sleeps in write(2) too, while the peer does not take what it is sent.
///
/// Adds the bytes sent back to `bytes` as they are sent: they count even if the connection then fails.
///
/// # Errors
///
/// Any error of the stream except `Interrupted`; `WouldBlock` after `--idle-timeout` without a byte. An
/// error concerns this connection alone.
pub fn echo_until_eof(
    mut stream: impl Read + Write,
    scratch: &mut Scratch,
    bytes: &mut u64,
) -> io::Result<()> {
    loop {
        let received = match stream.read(&mut scratch.buffer) {
            Ok(0) => return Ok(()),
            Ok(received) => received,
            // A signal came first: nothing was read.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        scratch.work();
        stream.write_all(&scratch.buffer[..received])?;
        *bytes += received as u64;
    }
}
