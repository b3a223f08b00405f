//! The interactive client of `upper`: sends what you type, prints what comes back.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example upper_client -- 127.0.0.1:7000
//! hello
//! HELLO
//! ```
//!
//! Two sources must be watched at once: the keyboard and the socket. Standard input may be a regular file,
//! which no selector can watch (EPERM). So a thread reads it, and reaches the loop through a [`Remote`].

mod common;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use echo::Address;
use epoll_selector::{
    Context, Conversation, End, Mio, Peer, Protocol, Reactor, Remote, Selector, Talk, Trigger,
    connect, mailbox,
};

/// Lines that may wait for the loop. The reading thread sleeps when there are more.
const LINES_MAX: usize = 16;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends each line of standard input, and prints what comes back
#[derive(Parser)]
struct Args {
    /// Address of the server: HOST:PORT or unix:PATH
    #[arg(default_value = "127.0.0.1:7000")]
    server: Address,
}

/// What the connection and the keyboard share.
struct State {
    server: Option<Peer>,
    result: io::Result<()>,
}

fn main() -> ExitCode {
    common::finish(talk(&Args::parse()))
}

fn talk(args: &Args) -> echo::Result<()> {
    let state = State { server: None, result: Ok(()) };
    let mut reactor = Reactor::new(Mio::new(Trigger::Edge)?, state);
    let (remote, mailbox) = mailbox(LINES_MAX)?;
    reactor.add(mailbox);
    let socket = connect(&args.server.to_sockaddr()?)?;
    // The first job: so the first line finds the server, and waits in its outbox.
    let _ = remote.try_call(move |context| {
        let server = Conversation::connecting(socket, Printer, CONNECT_TIMEOUT);
        context.shared.server = Some(server.add_to(context));
    });
    thread::spawn(move || read_keyboard(&remote));
    Ok(reactor.run()?.result?)
}

/// Passes each line to the loop, and at the end of the input ends our half of the stream.
fn read_keyboard(remote: &Remote<State>) {
    for line in io::stdin().lock().split(b'\n') {
        let Ok(mut line) = line else { break };
        line.push(b'\n');
        let send = move |context: &mut Context<'_, State>| {
            if let Some(server) = context.shared.server.clone()
                && !server.push(line, context)
            {
                context.shared.result = Err(io::Error::other("the server takes no more input"));
                context.stop(Duration::ZERO);
            }
        };
        if remote.call(send).is_err() {
            return; // The loop has ended.
        }
    }
    let _ = remote.call(|context| {
        if let Some(server) = context.shared.server.clone() {
            server.finish(context);
        }
    });
}

struct Printer;

impl Protocol<State> for Printer {
    fn message(&mut self, bytes: &[u8], _: &mut Talk<'_, State>) -> io::Result<()> {
        let mut stdout = io::stdout();
        stdout.write_all(bytes).and_then(|()| stdout.flush())
    }

    fn ended(&mut self, why: End, context: &mut Context<'_, State>) {
        context.shared.result = why.into_result();
        context.stop(Duration::ZERO); // The keyboard's thread may sleep in read(2) for ever.
    }
}
