//! What a conversation is about.

use std::io::{self, ErrorKind};

use crate::{Context, End, Talk};

/// What a conversation is about: called with whole messages, and answers through [`Talk`].
///
/// An error or a panic of any method ends this conversation and no other. Shown at
/// [`Conversation`](crate::Conversation).
pub trait Protocol<T> {
    /// The connection is there. A greeting goes here.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation.
    fn opened(&mut self, talk: &mut Talk<'_, T>) -> io::Result<()> {
        let _ = talk;
        Ok(())
    }

    /// A message has arrived, as [`Until`](crate::Until) says; `message` has no terminator and no
    /// prefix.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation.
    fn message(&mut self, message: &[u8], talk: &mut Talk<'_, T>) -> io::Result<()>;

    /// The message is longer than `longest` bytes. If this returns `Ok`, perhaps after an answer,
    /// the conversation is closed as by [`Talk::close`].
    ///
    /// # Errors
    ///
    /// By default an error that names the limit.
    fn too_long(&mut self, longest: usize, talk: &mut Talk<'_, T>) -> io::Result<()> {
        let _ = talk;
        let text = format!("a message is longer than {longest} bytes");
        Err(io::Error::new(ErrorKind::InvalidData, text))
    }

    /// The peer has ended its half of the stream. `rest` is a message without its end. By default
    /// the conversation closes when all that is queued is sent.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation.
    fn end_of_input(&mut self, rest: &[u8], talk: &mut Talk<'_, T>) -> io::Result<()> {
        let _ = rest;
        talk.close();
        Ok(())
    }

    /// The outbox was full, and is down to its low mark.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation.
    fn drained(&mut self, talk: &mut Talk<'_, T>) -> io::Result<()> {
        let _ = talk;
        Ok(())
    }

    /// Somebody has woken the conversation: see [`Context::wake`]. What a [`Peer`](crate::Peer) has
    /// pushed needs no answer here.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation.
    fn woken(&mut self, talk: &mut Talk<'_, T>) -> io::Result<()> {
        let _ = talk;
        Ok(())
    }

    /// The timer set with [`Context::timer`] is due.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation. The default is an error: a protocol with a timer needs
    /// this.
    fn timeout(&mut self, talk: &mut Talk<'_, T>) -> io::Result<()> {
        let _ = talk;
        Err(ErrorKind::TimedOut.into())
    }

    /// The reactor was asked to stop. By default the input ends: what has arrived is answered, and
    /// [`end_of_input`](Protocol::end_of_input) follows.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation.
    fn stop(&mut self, talk: &mut Talk<'_, T>) -> io::Result<()> {
        talk.end_input();
        Ok(())
    }

    /// The conversation has ended, and why. This is the last call. It is the only call when the
    /// connection was never made.
    fn ended(&mut self, why: End, context: &mut Context<'_, T>) {
        let _ = (why, context);
    }
}
