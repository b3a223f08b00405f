//! Clients that send all the time and read next to nothing.
//!
//! Each keeps its sending side full and takes a few bytes per tick of the engine. A server that
//! keeps its promises stops reading from them, buffers no more than its bound, and serves the
//! others.

use crate::Fault;
use crate::connection::{Buffers, Connection, Manner, Received};
use crate::recorder::Recorder;

/// Bytes that are offered beyond those that came back: more than any socket buffers hold, so that
/// there is always something to send.
const AHEAD: u64 = 64 << 20;
/// Bytes that are read per turn, and about the size of the socket's receive buffer.
const LITTLE: usize = 4096;

/// The slow readers of one thread.
pub(crate) struct SlowReaders {
    connections: Vec<Option<Connection>>,
}

impl SlowReaders {
    pub(crate) fn new(connections: Vec<Connection>) -> SlowReaders {
        for connection in &connections {
            // So that the server feels soon that nobody reads; a larger buffer would do as well.
            let _ = connection.socket.set_recv_buffer_size(LITTLE);
        }
        SlowReaders { connections: connections.into_iter().map(Some).collect() }
    }

    /// Each sends what the server takes, and reads once.
    pub(crate) fn turn(&mut self, buffers: &mut Buffers, manner: &Manner, recorder: &mut Recorder) {
        for slot in &mut self.connections {
            let Some(connection) = slot else { continue };
            if let Err(fault) = turn(connection, buffers, manner) {
                recorder.fault(fault, || format!("slow reader: {}", connection.place()));
                *slot = None;
            }
        }
    }
}

fn turn(connection: &mut Connection, buffers: &mut Buffers, manner: &Manner) -> Result<(), Fault> {
    connection.offer_ahead(AHEAD, manner);
    connection.send(buffers, manner)?;
    connection.receive(LITTLE, buffers, manner).and_then(|received| match received {
        Received::End => Err(Fault::EarlyClose),
        Received::Full | Received::Short | Received::Nothing => Ok(()),
    })
}
