//! The echo service over a stream that blocks.

use std::io::{self, ErrorKind, Read, Write};

use crate::Scratch;

/// Echoes until the peer has sent all it will: read(2), write(2), again and again. The calling thread
/// sleeps in the kernel whenever the peer has nothing to say or does not take what it is sent.
///
/// Adds the number of bytes sent back to `bytes` as they are sent, so that they count even when the
/// connection ends in an error.
///
/// # Errors
///
/// Any error of the stream but `Interrupted`. It concerns this connection alone.
pub fn echo_until_eof(
    mut stream: impl Read + Write,
    scratch: &mut Scratch,
    bytes: &mut u64,
) -> io::Result<()> {
    loop {
        let received = match stream.read(&mut scratch.buffer) {
            Ok(0) => return Ok(()),
            Ok(received) => received,
            // A signal came first: nothing was read, ask again.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // The peer was silent for the whole of --idle-timeout.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        scratch.work();
        stream.write_all(&scratch.buffer[..received])?;
        *bytes += received as u64;
    }
}
