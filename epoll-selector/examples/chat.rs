//! A chat with rooms: names, broadcast, kick. A member that does not read is dropped.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example chat
//! listening on 127.0.0.1:7000
//! $ nc 127.0.0.1 7000
//! * Welcome. Choose a name with /name NAME.
//! /name ada
//! * ada has joined hall
//! hello
//! <ada> hello
//! ```
//!
//! A line for a hundred members is one allocation: each outbox holds the same `Arc<[u8]>`. A member whose
//! outbox is full has not read for a while. The chat cannot wait for it, so the chat drops that member and
//! tells the others.

mod common;

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use common::Serving;
use epoll_selector::{Acceptor, Context, Conversation, End, Peer, Protocol, Talk, Until};

/// Longest name of a member or a room, in bytes.
const NAME_MAX: usize = 32;

/// The room in which every member begins.
const FIRST_ROOM: &str = "hall";

const HELP: &str =
    "* /name NAME, /join ROOM, /who, /kick NAME, /quit; anything else goes to the room\n";

/// A chat with rooms
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    serving: Serving,

    /// Longest line in bytes; a member that sends a longer one is disconnected
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    longest: usize,

    /// Bytes that may wait for a member; a member for whom more wait is dropped
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    unread: usize,
}

/// All members that have a name, by name.
type Members = BTreeMap<String, Member>;

#[derive(Clone)]
struct Member {
    peer: Peer,
    room: String,
}

fn main() -> ExitCode {
    common::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<()> {
    let (mut reactor, listener) = args.serving.start(Members::new())?;
    let (longest, unread) = (args.longest, args.unread);
    reactor.add(Acceptor::new(listener, move |stream, _: &mut Context<'_, Members>| {
        let chat = Conversation::new(stream, Chat { name: None });
        Some(chat.until(Until::Bytes(b"\n")).longest(longest).marks(unread / 2, unread))
    }));
    reactor.run()?;
    Ok(())
}

/// One connection.
struct Chat {
    /// None until the member has chosen one.
    name: Option<String>,
}

impl Protocol<Members> for Chat {
    fn opened(&mut self, talk: &mut Talk<'_, Members>) -> io::Result<()> {
        talk.push("* Welcome. Choose a name with /name NAME.\n");
        Ok(())
    }

    fn message(&mut self, line: &[u8], talk: &mut Talk<'_, Members>) -> io::Result<()> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        let (command, argument) = text.split_once(' ').unwrap_or((&text, ""));
        match (command, &self.name) {
            ("/help", _) => talk.push(HELP),
            ("/quit", _) => talk.close(),
            ("/name", _) => self.choose_name(argument.trim(), talk),
            (_, None) => talk.push("* Choose a name first: /name NAME\n"),
            ("/join", Some(name)) => join(name, argument.trim(), talk),
            ("/who", Some(name)) => who(name, talk),
            ("/kick", Some(name)) => kick(name, argument.trim(), talk),
            (_, Some(name)) if !text.starts_with('/') => {
                let room = room_of(name, talk.context.shared);
                say(&room, &format!("<{name}> {text}\n"), &mut talk.context);
            }
            _ => talk.push(HELP),
        }
        Ok(())
    }

    fn ended(&mut self, _: End, context: &mut Context<'_, Members>) {
        let token = context.token();
        // After a kick, another member may have taken the name.
        let is_own = |name: &String| {
            context.shared.get(name).is_some_and(|member| member.peer.token() == token)
        };
        if let Some(name) = self.name.take().filter(is_own) {
            leave(&name, "has left", context);
        }
    }
}

impl Chat {
    fn choose_name(&mut self, name: &str, talk: &mut Talk<'_, Members>) {
        if !is_name(name) {
            return talk.push("* A name has 1 to 32 letters, digits, - or _\n");
        }
        if talk.context.shared.contains_key(name) {
            return talk.push(format!("* The name {name} is taken\n"));
        }
        let peer = talk.peer();
        let (room, news) = match self.name.take() {
            None => (FIRST_ROOM.to_owned(), format!("* {name} has joined {FIRST_ROOM}\n")),
            Some(old) => {
                let room = room_of(&old, talk.context.shared);
                talk.context.shared.remove(&old);
                (room, format!("* {old} is now {name}\n"))
            }
        };
        talk.context.shared.insert(name.to_owned(), Member { peer, room: room.clone() });
        self.name = Some(name.to_owned());
        say(&room, &news, &mut talk.context);
    }
}

/// Sends one copy of `line` to all members in `room`. Drops those that do not read.
fn say(room: &str, line: &str, context: &mut Context<'_, Members>) {
    let line: Arc<[u8]> = Arc::from(line.as_bytes());
    let in_room = |(_, member): &(&String, &Member)| member.room == room;
    let members: Vec<(String, Peer)> = context
        .shared
        .iter()
        .filter(in_room)
        .map(|(name, member)| (name.clone(), member.peer.clone()))
        .collect();
    let mut too_slow = Vec::new();
    for (name, peer) in members {
        if !peer.push(Arc::clone(&line), context) {
            context.close(peer.token());
            too_slow.push(name);
        }
    }
    // After the loop: this calls `say` again, for fewer members.
    for name in too_slow {
        leave(&name, "does not read, and was dropped", context);
    }
}

fn join(name: &str, room: &str, talk: &mut Talk<'_, Members>) {
    if !is_name(room) {
        return talk.push("* A room has 1 to 32 letters, digits, - or _\n");
    }
    let before = room_of(name, talk.context.shared);
    if let Some(member) = talk.context.shared.get_mut(name) {
        room.clone_into(&mut member.room);
    }
    say(&before, &format!("* {name} has gone to {room}\n"), &mut talk.context);
    say(room, &format!("* {name} has joined {room}\n"), &mut talk.context);
}

fn who(name: &str, talk: &mut Talk<'_, Members>) {
    let room = room_of(name, talk.context.shared);
    let members = talk.context.shared.iter().filter(|(_, member)| member.room == room);
    let names: Vec<&str> = members.map(|(name, _)| name.as_str()).collect();
    let answer = format!("* in {room}: {}\n", names.join(", "));
    talk.push(answer);
}

fn kick(by: &str, name: &str, talk: &mut Talk<'_, Members>) {
    let Some(member) = talk.context.shared.get(name).cloned() else {
        return talk.push(format!("* There is no {name}\n"));
    };
    let _ = member.peer.push(format!("* {by} has kicked you\n"), &mut talk.context);
    member.peer.close(&mut talk.context); // What is queued is still sent.
    leave(name, &format!("was kicked by {by}"), &mut talk.context);
}

/// Removes a member, and tells its room. Does nothing if the member was removed before.
fn leave(name: &str, how: &str, context: &mut Context<'_, Members>) {
    if let Some(member) = context.shared.remove(name) {
        say(&member.room, &format!("* {name} {how}\n"), context);
    }
}

fn room_of(name: &str, members: &Members) -> String {
    members.get(name).map_or(FIRST_ROOM, |member| member.room.as_str()).to_owned()
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(allowed)
}
