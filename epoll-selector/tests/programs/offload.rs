use std::time::Instant;

use super::*;

/// Keeps one client computing, and returns how long the small messages of another took.
fn beside_heavy(args: &[&str]) -> Vec<Duration> {
    let server = serve("offload", args);
    let mut heavy = connect(&server);
    let busy = std::thread::spawn(move || {
        let mut buffer = vec![0; 8192];
        for _ in 0..20 {
            heavy.write_all(&[1; 8192]).unwrap();
            heavy.read_exact(&mut buffer).unwrap();
        }
    });
    let mut light = connect(&server);
    let mut times = Vec::new();
    while !busy.is_finished() {
        let start = Instant::now();
        light.write_all(b"ping").unwrap();
        light.read_exact(&mut [0; 4]).unwrap();
        times.push(start.elapsed());
    }
    busy.join().unwrap();
    stop(server);
    times
}

#[test]
fn who_computes_does_not_stop_the_others_unless_on_the_loop() {
    let options = ["--work", "50ms", "--heavy", "4096"];
    // Of 20 computations of 50 ms, how many did a small message wait for?
    let waits = |times: Vec<Duration>| {
        times.into_iter().filter(|time| *time > Duration::from_millis(25)).count()
    };
    let on_the_loop = waits(beside_heavy(&[&options[..], &["--on-the-loop"]].concat()));
    let offloaded = waits(beside_heavy(&options));
    assert!(on_the_loop >= 15 && offloaded <= 10, "{on_the_loop} and {offloaded} of 20");
}

#[test]
fn answers_stay_in_order_though_the_pool_is_full() {
    let server = serve("offload", &["--work", "1ms", "--workers", "2", "--queue", "1"]);
    let clients: Vec<_> = (0..20_u8)
        .map(|number| {
            let mut stream = connect(&server);
            std::thread::spawn(move || {
                let sent: Vec<u8> = (0..50_u8).flat_map(|at| [number, at]).collect();
                for message in sent.chunks(10) {
                    stream.write_all(message).unwrap();
                }
                let mut received = vec![0; sent.len()];
                stream.read_exact(&mut received).unwrap();
                assert_eq!(received, sent);
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    stop(server);
}

#[test]
fn a_client_that_leaves_while_its_job_waits_frees_the_place() {
    let server = serve("offload", &["--work", "20ms", "--workers", "1", "--queue", "1"]);
    for _ in 0..10 {
        let mut leaves = connect(&server);
        leaves.write_all(b"never read").unwrap();
        reset(leaves);
    }
    assert_eq!(exchange(&server, b"served"), b"served");
    stop(server);
}

/// Resets the connection.
fn reset(stream: TcpStream) {
    socket2::Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}
