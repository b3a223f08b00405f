//! A line server: answers each line in upper case.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example upper
//! listening on 127.0.0.1:7000
//! $ printf 'hello\nworld\n' | nc -N 127.0.0.1 7000      # or: --example upper_client
//! HELLO
//! WORLD
//! ```
//!
//! The whole program is one [`Protocol`]. [`Conversation`] finds the lines, whatever pieces they arrive in,
//! and stops reading from a client that does not take its answers.

mod common;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use common::Serving;
use epoll_selector::{Acceptor, Context, Conversation, Protocol, Talk, Until};

/// Answers each line in upper case
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    serving: Serving,

    /// Longest line in bytes; a client that sends a longer one is told so, and disconnected
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024)]
    longest: usize,
}

fn main() -> ExitCode {
    common::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<()> {
    let (mut reactor, listener) = args.serving.start(())?;
    let longest = args.longest;
    reactor.add(Acceptor::new(listener, move |stream, _: &mut Context<'_, ()>| {
        Some(Conversation::new(stream, Upper).until(Until::Bytes(b"\n")).longest(longest))
    }));
    Ok(reactor.run()?)
}

struct Upper;

impl Protocol<()> for Upper {
    fn message(&mut self, line: &[u8], talk: &mut Talk<'_, ()>) -> io::Result<()> {
        talk.push(line.to_ascii_uppercase());
        talk.push(b"\n");
        Ok(())
    }

    /// A last line without its end is a line too.
    fn end_of_input(&mut self, rest: &[u8], talk: &mut Talk<'_, ()>) -> io::Result<()> {
        if !rest.is_empty() {
            self.message(rest, talk)?;
        }
        talk.close();
        Ok(())
    }

    fn too_long(&mut self, longest: usize, talk: &mut Talk<'_, ()>) -> io::Result<()> {
        talk.push(format!("error: a line has at most {longest} bytes\n"));
        Ok(())
    }
}
