//! The client of `command`: sends commands, prints the replies.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example command_client -- 127.0.0.1:7000 'ADD 1 2' TIME
//! ```
//!
//! All commands are sent at once, before the first reply: so they arrive in few pieces. With `--naive` they
//! are sent without frames, and the server cannot tell where one ends.

mod common;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use echo::Address;
use epoll_selector::{
    Context, Conversation, End, Mio, Protocol, Reactor, Selector, Talk, Trigger, Until, connect,
};

/// Longest reply in bytes.
const REPLY_MAX: usize = 64 * 1024;

/// How long connecting may take, and how long the server may be silent.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends each COMMAND, and prints the greeting and the replies
#[derive(Parser)]
struct Args {
    /// Address of the server: HOST:PORT or unix:PATH
    server: Address,

    /// What to send, such as 'ADD 1 2'
    #[arg(required = true, value_name = "COMMAND")]
    commands: Vec<String>,

    /// No frames, as `command --naive` reads
    #[arg(long)]
    naive: bool,
}

fn main() -> ExitCode {
    let Args { server, commands, naive } = Args::parse();
    common::finish(talk(&server, commands, naive))
}

fn talk(server: &Address, commands: Vec<String>, naive: bool) -> echo::Result<()> {
    let mut reactor = Reactor::new(Mio::new(Trigger::Edge)?, Ok(()));
    let until = if naive { Until::Any } else { Until::Prefixed };
    let client = Client { commands, naive };
    let socket = connect(&server.to_sockaddr()?)?;
    reactor.add(Conversation::connecting(socket, client, TIMEOUT).until(until).longest(REPLY_MAX));
    Ok(reactor.run()??)
}

struct Client {
    commands: Vec<String>,
    naive: bool,
}

impl Protocol<io::Result<()>> for Client {
    fn opened(&mut self, talk: &mut Talk<'_, io::Result<()>>) -> io::Result<()> {
        for command in &self.commands {
            match self.naive {
                false => talk.push_prefixed(command.as_bytes())?,
                true => talk.push(command.as_str()),
            }
        }
        talk.finish();
        talk.context.timer(Some(Instant::now() + TIMEOUT));
        Ok(())
    }

    fn message(&mut self, reply: &[u8], talk: &mut Talk<'_, io::Result<()>>) -> io::Result<()> {
        talk.context.timer(Some(Instant::now() + TIMEOUT));
        let mut stdout = io::stdout();
        stdout.write_all(reply)?;
        stdout.write_all(b"\n")
    }

    fn ended(&mut self, why: End, context: &mut Context<'_, io::Result<()>>) {
        *context.shared = why.into_result();
    }
}
