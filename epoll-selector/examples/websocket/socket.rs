//! One WebSocket without its connection: bytes in, messages and bytes out.

use std::io::{self, ErrorKind, Read, Write};

use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

/// Capacity of the buffer for incomplete frames, in bytes. A longer frame gets more while it
/// arrives.
const BUFFER_BYTES: usize = 4096;

/// The protocol's state: frames that are incomplete, fragments, the closing handshake.
pub(crate) struct Socket {
    context: WebSocketContext,
    /// Frames to send.
    output: Vec<u8>,
}

/// What has come of the input.
pub(crate) enum Event {
    /// A text or binary message.
    Message(Message),
    /// All input is used up.
    Waiting,
    /// The closing handshake is over, or the peer has broken the rules. What is in the output is
    /// the last.
    Closed,
}

impl Socket {
    /// A server's side, for messages of at most `longest` bytes.
    pub(crate) fn new(longest: usize) -> Socket {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(longest))
            .max_frame_size(Some(longest));
        let context = WebSocketContext::new(Role::Server, Some(config));
        Socket { context, output: Vec::new() }
    }

    /// Takes bytes off `input`, up to the end of the next message. Pings are answered.
    pub(crate) fn read(&mut self, input: &mut &[u8]) -> Event {
        loop {
            match self.context.read(&mut Pipe { input, output: &mut self.output }) {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    return Event::Message(message);
                }
                Ok(_) => {} // The answer to a ping or close is on its way.
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Event::Waiting;
                }
                Err(Error::Utf8(_)) => return self.fail(CloseCode::Invalid),
                Err(Error::Capacity(_)) => return self.fail(CloseCode::Size),
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Event::Closed,
                Err(_) => return self.fail(CloseCode::Protocol),
            }
        }
    }

    /// Queues a message in the output. Does nothing once the closing handshake has begun.
    pub(crate) fn write(&mut self, message: Message) {
        let _ = self
            .context
            .write(&mut Pipe { input: &mut &[][..], output: &mut self.output }, message);
    }

    /// Queues a close frame that says why.
    pub(crate) fn fail(&mut self, code: CloseCode) -> Event {
        let why = CloseFrame { code, reason: "".into() };
        self.write(Message::Close(Some(why)));
        Event::Closed
    }

    /// The frames to send.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}

/// A text message as one frame: the same bytes for every member.
pub(crate) fn text_frame(text: String) -> io::Result<Vec<u8>> {
    let frame = Frame::message(text, OpCode::Data(Data::Text), true);
    let mut bytes = Vec::with_capacity(frame.len());
    frame.format(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A stream in memory, which has no more to read for now when its input is used up.
struct Pipe<'b, 'i> {
    input: &'b mut &'i [u8],
    output: &'b mut Vec<u8>,
}

impl Read for Pipe<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.input.read(buffer)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Pipe<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
