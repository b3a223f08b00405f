use super::*;

fn client(server: &Process, args: &[&str]) -> Vec<String> {
    let output = run(example("command_client").arg(server.addr().to_string()).args(args), "");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn frame(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text].concat()
}

#[test]
fn commands_sent_together_are_answered_one_by_one() {
    let server = serve("command", &[]);
    let replies = client(&server, &["ADD 1 2", "UPPER a b", "NOPE", "ADD x", "QUIT", "ECHO late"]);
    assert_eq!(replies[..3], ["commands/1", "OK 3", "OK A B"]);
    assert!(replies[3].starts_with("ERROR unknown command"), "{replies:?}");
    assert_eq!(replies[4..], ["ERROR not a number: x", "OK bye"]);
    stop(server);
}

#[test]
fn without_frames_commands_stick_together() {
    let server = serve("command", &["--naive"]);
    let replies = client(&server, &["--naive", "ECHO one", "ECHO two"]);
    assert_ne!(replies, ["commands/1", "OK one", "OK two"], "it worked by luck");
    assert!(replies.join(" ").contains("oneECHO two"), "{replies:?}");
    stop(server);
}

#[test]
fn limits_are_answered_with_an_error_and_a_close() {
    let server = serve("command", &["--longest", "100", "--most", "2"]);
    let greeting = frame(b"commands/1");
    let sent = exchange(&server, &frame(&[b'x'; 101]));
    let expected = [greeting.clone(), frame(b"ERROR a command has at most 100 bytes")].concat();
    assert_eq!(sent, expected);
    let sent = exchange(&server, &[frame(b"ADD"), frame(b"ADD 1"), frame(b"ADD")].concat());
    let replies = [&b"OK 0"[..], b"OK 1", b"ERROR too many commands"].map(frame).concat();
    assert_eq!(sent, [greeting.clone(), replies].concat());
    let sent = exchange(&server, &frame(b"ECHO cut off")[..6]);
    assert_eq!(sent, [greeting.clone(), frame(b"ERROR the last command is incomplete")].concat());
    let sent = exchange(&server, &frame(b"ECHO \xff"));
    assert_eq!(sent, [greeting, frame(b"ERROR not UTF-8")].concat());
    stop(server);
}
