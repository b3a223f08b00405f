use super::*;

/// What the server says of one feed: messages, system calls.
fn feed(args: &[&str]) -> (u64, u64) {
    let server = serve("batch", &[&["--messages", "2000", "--rate", "20000"], args].concat());
    let client = run(example("batch_client").arg(server.addr().to_string()), "");
    assert!(client.status.success(), "{client:?}");
    assert!(String::from_utf8(client.stdout).unwrap().starts_with("2000 messages, 128000 bytes"));
    let said = stop(server);
    let number_before = |word: &str| {
        let words: Vec<&str> = said.split_whitespace().collect();
        let at = words.iter().position(|found| found.starts_with(word)).unwrap();
        words[at - 1].parse().unwrap()
    };
    (number_before("messages"), number_before("system"))
}

#[test]
fn gathering_saves_system_calls_and_holding_saves_more() {
    let (messages, single) = feed(&["--send", "single"]);
    assert_eq!((messages, single), (2000, 2000));
    let (_, gathered) = feed(&["--send", "gathered"]);
    assert!(gathered < single / 4, "{gathered}");
    let (_, held) = feed(&["--send", "held", "--hold", "20ms"]);
    assert!(held < 20, "{held}");
}
