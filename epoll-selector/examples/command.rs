//! A command server: "COMMAND data" over length-prefixed frames, with a greeting, error replies and limits.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example command
//! listening on 127.0.0.1:7000
//! $ cargo run --release -p epoll-selector --example command_client -- 127.0.0.1:7000 'ADD 1 2' TIME
//! commands/1
//! OK 3
//! OK 1763750000
//! ```
//!
//! A frame is four bytes of length (most significant first), then that number of bytes. A frame tells
//! where a command ends. With `--naive` there are no frames: each read is taken for one command, as in many
//! first programs. It works by hand. Then two commands arrive in one read, or one command in two: see what
//! the client gets (`command_client --naive`).

mod common;

use std::io;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use common::Serving;
use epoll_selector::{Acceptor, Context, Conversation, Protocol, Talk, Until};

/// The first frame of every conversation: the protocol and its version.
const GREETING: &str = "commands/1";

/// Executes commands: ECHO text, UPPER text, ADD numbers, TIME, QUIT
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    serving: Serving,

    /// Longest command in bytes; a client that sends a longer one gets an error and is disconnected
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    longest: usize,

    /// Most commands of one client; then it gets an error and is disconnected
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    most: u64,

    /// No frames: take each read for one command, to see why that is wrong
    #[arg(long)]
    naive: bool,
}

fn main() -> ExitCode {
    common::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<()> {
    let (mut reactor, listener) = args.serving.start(())?;
    let (longest, most, framed) = (args.longest, args.most, !args.naive);
    reactor.add(Acceptor::new(listener, move |stream, _: &mut Context<'_, ()>| {
        let until = if framed { Until::Prefixed } else { Until::Any };
        Some(
            Conversation::new(stream, Commands { framed, left: most })
                .until(until)
                .longest(longest),
        )
    }));
    Ok(reactor.run()?)
}

struct Commands {
    framed: bool,
    /// Commands that this client may still send.
    left: u64,
}

impl Protocol<()> for Commands {
    fn opened(&mut self, talk: &mut Talk<'_, ()>) -> io::Result<()> {
        self.reply(GREETING, talk)
    }

    fn message(&mut self, command: &[u8], talk: &mut Talk<'_, ()>) -> io::Result<()> {
        if self.left == 0 {
            self.reply("ERROR too many commands", talk)?;
            talk.close();
            return Ok(());
        }
        self.left -= 1;
        if command == b"QUIT" {
            self.reply("OK bye", talk)?;
            talk.close();
            return Ok(());
        }
        let answer = match std::str::from_utf8(command).map_err(|_| "not UTF-8".to_owned()) {
            Ok(command) => execute(command),
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => self.reply(&format!("OK {answer}"), talk),
            Err(error) => self.reply(&format!("ERROR {error}"), talk),
        }
    }

    fn too_long(&mut self, longest: usize, talk: &mut Talk<'_, ()>) -> io::Result<()> {
        self.reply(&format!("ERROR a command has at most {longest} bytes"), talk)
    }

    fn end_of_input(&mut self, rest: &[u8], talk: &mut Talk<'_, ()>) -> io::Result<()> {
        if !rest.is_empty() {
            self.reply("ERROR the last command is incomplete", talk)?;
        }
        talk.close();
        Ok(())
    }
}

impl Commands {
    fn reply(&self, text: &str, talk: &mut Talk<'_, ()>) -> io::Result<()> {
        if self.framed {
            return talk.push_prefixed(text.as_bytes());
        }
        talk.push(text);
        Ok(())
    }
}

/// The answer to a command, or what is wrong with it.
fn execute(command: &str) -> Result<String, String> {
    let (name, data) = command.split_once(' ').unwrap_or((command, ""));
    match name {
        "ECHO" => Ok(data.to_owned()),
        "UPPER" => Ok(data.to_uppercase()),
        "ADD" => {
            let mut sum = 0_i64;
            for word in data.split_whitespace() {
                let number: i64 = word.parse().map_err(|_| format!("not a number: {word}"))?;
                sum = sum.checked_add(number).ok_or("the sum is too large")?;
            }
            Ok(sum.to_string())
        }
        "TIME" => {
            let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            Ok(since_1970.unwrap_or_default().as_secs().to_string())
        }
        _ => Err(format!("unknown command {name:?}; use ECHO, UPPER, ADD, TIME or QUIT")),
    }
}
