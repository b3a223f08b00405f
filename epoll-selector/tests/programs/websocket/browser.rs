//! The page of the `websocket` example in headless Chromium, led over its debugging port.

use std::process::Child;
use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::http::web::{Folder, Web};

/// A browser with one page.
struct Browser {
    page: WebSocket<TcpStream>,
    calls: u64,
    // Dropped in this order: the browser writes to its profile as long as it runs.
    _running: Running,
    _profile: Folder,
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Browser {
    /// Opens a page. `None`, and a line that says so, without Chromium.
    fn open(url: &str) -> Option<Browser> {
        let profile = Folder::new();
        let start = |name: &&str| {
            let mut command = Command::new(name);
            command.args(["--headless", "--no-sandbox", "--disable-gpu"]);
            command.args(["--remote-debugging-port=0", url]);
            command.arg(format!("--user-data-dir={}", profile.path().display()));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().ok()
        };
        let Some(child) = ["chromium", "chromium-browser", "google-chrome"].iter().find_map(start)
        else {
            eprintln!("SKIPPED: no Chromium is installed");
            return None;
        };
        let running = Running(child);
        let page = page_of(&profile);
        Some(Browser { page, calls: 0, _running: running, _profile: profile })
    }

    /// The value of a JavaScript expression in the page.
    fn value(&mut self, expression: &str) -> Value {
        self.calls += 1;
        let call = json!({
            "id": self.calls,
            "method": "Runtime.evaluate",
            "params": { "expression": expression, "returnByValue": true },
        });
        self.page.send(Message::text(call.to_string())).unwrap();
        loop {
            let answer: Value = serde_json::from_str(&text(&mut self.page)).unwrap();
            if answer["id"] == self.calls {
                return answer["result"]["result"]["value"].clone();
            }
        }
    }

    /// Waits until an expression is true.
    #[track_caller]
    fn until(&mut self, expression: &str) {
        let start = Instant::now();
        while self.value(expression) != true {
            let page = self.value("document.body?.innerText");
            assert!(start.elapsed() < LONG, "{expression} does not become true: {page}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The debugging socket of the browser's page. The browser writes its port into its profile.
fn page_of(profile: &Folder) -> WebSocket<TcpStream> {
    let start = Instant::now();
    while start.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(50));
        let file = profile.path().join("DevToolsActivePort");
        let Ok(ports) = std::fs::read_to_string(file) else { continue };
        let Some((port, _)) = ports.split_once('\n') else { continue };
        let addr = format!("127.0.0.1:{port}");
        let open = || {
            let stream = TcpStream::connect(&addr).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            stream
        };
        let mut list = Web(BufReader::new(open()));
        list.send(format!("GET /json/list HTTP/1.1\r\nHost: {addr}\r\n\r\n"));
        let body = list.reply(true).body;
        let targets: Vec<Value> = serde_json::from_slice(&body).unwrap();
        let page = targets.iter().find(|target| target["type"] == "page");
        if let Some(url) = page.and_then(|page| page["webSocketDebuggerUrl"].as_str()) {
            return tungstenite::client(url, open()).unwrap().0;
        }
    }
    panic!("the browser has no page after {LONG:?}");
}

#[test]
fn a_browser_echoes_and_chats() {
    let server = serve("websocket", &[]);
    let Some(mut browser) = Browser::open(&format!("http://{}/", server.addr())) else { return };
    browser.until("document.getElementById('echo')?.textContent == 'hello'");

    let mut ben = open(&server, "/chat?name=ben");
    assert_eq!(text(&mut ben), "* ben has joined");
    browser.value("at('name').value = 'ada'; at('join').requestSubmit()");
    assert_eq!(text(&mut ben), "* ada has joined");
    ben.send(Message::text("<b>grüße</b>")).unwrap();
    browser.until("at('log').textContent == '* ada has joined\\nben: <b>grüße</b>\\n'");
    browser.value("at('text').value = 'hi'; at('say').requestSubmit()");
    assert_eq!(text(&mut ben), "ben: <b>grüße</b>");
    assert_eq!(text(&mut ben), "ada: hi");
    browser.value("chat.close(1000)");
    assert_eq!(text(&mut ben), "* ada has left");
    browser.until("at('log').textContent.endsWith('(code 1000)\\n')");
    drop((browser, ben));
    stop(server);
}
