use super::*;

fn join(server: &Process, name: &str) -> Lines {
    let mut member = Lines::connect(server);
    assert!(member.next().starts_with("* Welcome"));
    member.send(&format!("/name {name}"));
    member.until(&format!("{name} has joined hall"));
    member
}

#[test]
fn a_line_reaches_everybody_in_the_room_and_nobody_else() {
    let server = serve("chat", &[]);
    let (mut ada, mut ben, mut cora) =
        (join(&server, "ada"), join(&server, "ben"), join(&server, "cora"));
    cora.send("/join lab");
    ada.until("cora has gone to lab");
    cora.until("cora has joined lab");
    ada.send("hello");
    assert_eq!(ada.until("hello"), "<ada> hello");
    assert_eq!(ben.until("hello"), "<ada> hello");
    cora.send("/who");
    assert_eq!(cora.next(), "* in lab: cora", "she heard nothing from the hall");
    ben.send("/name ada");
    ben.until("is taken");
    ben.send("/quit");
    ada.until("ben has left");
    drop(ben);
    stop(server);
}

#[test]
fn a_name_is_needed_and_must_be_one() {
    let server = serve("chat", &[]);
    let mut member = Lines::connect(&server);
    member.next();
    member.send("hello");
    assert!(member.next().contains("name first"));
    member.send("/name two words");
    assert!(member.next().contains("letters"));
    stop(server);
}

#[test]
fn a_kicked_member_is_told_and_its_name_is_free() {
    let server = serve("chat", &[]);
    let (mut ada, mut ben) = (join(&server, "ada"), join(&server, "ben"));
    ada.send("/kick ben");
    ben.until("ada has kicked you");
    assert_eq!(ben.next(), "", "the stream has ended");
    ada.until("ben was kicked by ada");
    let mut other = join(&server, "ben");
    drop(ben); // Its end must not remove the new ben.
    ada.send("/who");
    assert_eq!(ada.until("in hall"), "* in hall: ada, ben");
    other.send("still here");
    ada.until("<ben> still here");
    stop(server);
}

#[test]
fn a_member_that_does_not_read_is_dropped_and_the_others_are_told() {
    let server = serve("chat", &["--unread", "65536"]);
    let mut speaker = join(&server, "speaker");
    let mut deaf = join(&server, "deaf");
    let mut listener = join(&server, "listener");
    let line = "x".repeat(4000);
    let reader = std::thread::spawn(move || listener.until("deaf does not read, and was dropped"));
    // The kernel takes some megabytes for the deaf one before its outbox fills.
    for _ in 0..20_000 {
        speaker.send(&line);
        if speaker.until("").contains("deaf does not read") {
            break;
        }
    }
    reader.join().unwrap();
    speaker.send("/who");
    assert!(!speaker.until("in hall").contains("deaf"));
    deaf.0.get_mut().set_nonblocking(true).unwrap();
    stop(server);
}
