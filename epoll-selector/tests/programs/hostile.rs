//! Peers that mean harm, for every program: memory stays bounded, and the others are served.

use super::*;

/// A server with its options, what a good client sends, and what comes back first.
type Server = (&'static str, &'static [&'static str], &'static [u8], &'static [u8]);

const SERVERS: &[Server] = &[
    ("upper", &[], b"good\n", b"GOOD\n"),
    ("command", &[], b"\0\0\0\x09ECHO good", b"\0\0\0\x0acommands/1\0\0\0\x07OK good"),
    ("command", &["--naive"], b"ECHO good", b"commands/1OK good"),
    ("chat", &[], b"good\n", b"* Welcome. Choose a name with /name NAME.\n* Choose a name"),
    ("offload", &[], b"good", b"good"),
    ("mixed", &[], b"good", b"good"),
];

/// The most memory that a server may need for a peer that means harm, in KiB.
const GROWTH_KIB: u64 = 8 * 1024;

/// Resident memory in KiB (proc_pid_status(5)).
pub(super) fn resident_kib(server: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A client that behaves, and is served.
fn is_served(server: &Process, sent: &[u8], expected: &[u8], why: &str) {
    let mut stream = connect(server);
    stream.write_all(sent).unwrap();
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).unwrap_or_else(|error| panic!("{why}: {error}"));
    assert_eq!(received, expected, "{why}");
}

#[test]
fn peers_that_mean_harm_cost_bounded_memory_and_harm_nobody() {
    for (name, args, sent, expected) in SERVERS {
        let server = serve(name, args);
        is_served(&server, sent, expected, name);
        let before = resident_kib(&server);

        // Sends without end, and never reads: until the server reads no more, or ends it.
        let mut flood = connect(&server);
        flood.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let garbage = vec![b'x'; 64 * 1024];
        for _ in 0..1000 {
            if flood.write_all(&garbage).is_err() {
                break;
            }
        }
        is_served(&server, sent, expected, &format!("{name} beside a flood"));

        // One byte at a time, and then a half-close in the middle.
        let mut slow = connect(&server);
        for byte in &sent[..sent.len() - 1] {
            let _ = slow.write_all(&[*byte]);
        }
        slow.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).unwrap();

        // Resets, at any point.
        for cut in 0..sent.len() {
            let mut stream = connect(&server);
            stream.write_all(&sent[..cut]).unwrap();
            socket2::Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        is_served(&server, sent, expected, &format!("{name} after resets"));

        // Many who never read what they are sent.
        let deaf: Vec<_> = (0..100)
            .map(|_| {
                let mut stream = connect(&server);
                stream.write_all(sent).unwrap();
                stream
            })
            .collect();
        is_served(&server, sent, expected, &format!("{name} beside the deaf"));
        let growth = resident_kib(&server).saturating_sub(before);
        assert!(growth < GROWTH_KIB, "{name} {args:?} has grown by {growth} KiB");
        drop((flood, deaf));
        stop(server);
    }
}
