//! Clients that send all the time and hardly read.
//!
//! Each client keeps its send buffer full, and reads a few bytes every 5 ms. A correct server stops
//! reading from such a client, buffers a bounded number of bytes for it, and serves the other clients.

use crate::Fault;
use crate::connection::{Buffers, Connection, Manner, Received};
use crate::recorder::Recorder;

/// Bytes offered beyond the last returned byte. The socket buffers of both sides hold less, so there
/// is always something to send.
const AHEAD: u64 = 64 << 20;
/// Time between two turns, in nanoseconds: several turns fit into a slice of 20 ms.
const PERIOD: u64 = 5_000_000;
/// Bytes of one read, and the requested size of the socket's receive buffer.
const LITTLE: usize = 4096;

/// The slow readers of one thread.
pub(crate) struct SlowReaders {
    connections: Vec<Option<Connection>>,
    /// When the next turn is due, in nanoseconds of the recorder's clock.
    next_turn: u64,
}

impl SlowReaders {
    pub(crate) fn new(connections: Vec<Connection>) -> SlowReaders {
        for connection in &connections {
            // A small buffer fills soon. The test also works with a larger one, so an error is no harm.
            let _ = connection.socket.set_recv_buffer_size(LITTLE);
        }
        let next_turn = if connections.is_empty() { u64::MAX } else { 0 };
        SlowReaders { connections: connections.into_iter().map(Some).collect(), next_turn }
    }

    /// When the next turn is due, in nanoseconds of the recorder's clock.
    pub(crate) fn next_turn(&self) -> u64 {
        self.next_turn
    }

    /// Sends on each connection until the socket would block, and reads once.
    pub(crate) fn turn(&mut self, buffers: &mut Buffers, manner: &Manner, recorder: &mut Recorder) {
        self.next_turn = recorder.now() + PERIOD;
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
