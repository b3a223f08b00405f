use super::*;

#[test]
fn each_line_comes_back_in_upper_case_whatever_pieces_it_came_in() {
    let server = serve("upper", &[]);
    assert_eq!(exchange(&server, b"hello\n\nworld\nlast"), b"HELLO\n\nWORLD\nLAST\n");
    let mut slow = connect(&server);
    for byte in b"slow\n" {
        slow.write_all(&[*byte]).unwrap();
    }
    let mut answer = [0; 5];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"SLOW\n");
    stop(server);
}

#[test]
fn the_client_sends_what_is_typed_and_prints_what_comes_back() {
    let server = serve("upper", &[]);
    let client = run(example("upper_client").arg(server.addr().to_string()), "one\ntwo\n");
    assert_eq!(String::from_utf8(client.stdout).unwrap(), "ONE\nTWO\n");
    assert!(client.status.success());
    let gone = server.addr().to_string();
    stop(server);
    let client = run(example("upper_client").arg(gone), "");
    assert_eq!(client.status.code(), Some(1));
    assert!(String::from_utf8(client.stderr).unwrap().contains("refused"));
}

#[test]
fn a_line_without_end_is_refused_with_a_reason() {
    let server = serve("upper", &["--longest", "100"]);
    let mut stream = connect(&server);
    stream.write_all(&[b'x'; 101]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "error: a line has at most 100 bytes\n");
    stop(server);
}
