use std::net::UdpSocket;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use super::*;

#[test]
fn one_loop_serves_tcp_unix_and_udp_and_reports_on_a_signal() {
    let path = std::env::temp_dir().join(format!("mixed-{}", std::process::id()));
    let mut command = example("mixed");
    command.args(["--addr", "127.0.0.1:0", "--every", "50ms", "--unix"]).arg(&path);
    let server = Process::start(command.stdin(Stdio::null())).unwrap();
    assert_eq!(exchange(&server, b"tcp"), b"tcp");
    let mut unix = UnixStream::connect(&path).unwrap();
    unix.set_read_timeout(Some(LONG)).unwrap();
    unix.write_all(b"unix").unwrap();
    let mut answer = [0; 4];
    unix.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"unix");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(LONG)).unwrap();
    udp.send_to(b"udp", server.addr()).unwrap();
    let mut answer = [0; 3];
    udp.recv_from(&mut answer).unwrap();
    assert_eq!(&answer, b"udp");
    server.signal(Signal::SIGUSR1).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let ended = server.stop(LONG).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let expected = "Statistics { streams: 2, stream_bytes: 7, datagrams: 1 }";
    // The clock, the signal, and the end.
    assert!(ended.stderr.matches(expected).count() >= 3, "{ended:?}");
    assert!(!path.exists());
}
