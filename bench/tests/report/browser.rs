//! The page in a real browser: no errors on its console, nothing wider than the window.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The names of the program in several distributions.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Chromium, if it is installed.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let all = std::env::split_paths(&path).flat_map(|dir| NAMES.map(|name| dir.join(name)));
    all.into_iter().find(|program| program.is_file())
}

/// A page that was opened.
pub(crate) struct Opened {
    /// The title of the page, after its scripts have run.
    pub(crate) title: String,
    /// The log of the browser, which includes the console of the page.
    pub(crate) log: String,
}

/// Opens `page`. The directory `profile` must not exist, and is removed at the end.
pub(crate) fn open(program: &Path, page: &Path, profile: &Path) -> Opened {
    fs::create_dir_all(profile).unwrap();
    let output = Command::new(program)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("--window-size=1400,900")
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    fs::remove_dir_all(profile).unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    let text = String::from_utf8_lossy(&output.stdout);
    let title = text.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    Opened { title: title.map(|(title, _)| title.to_owned()).unwrap_or_default(), log }
}

/// Returns a copy of the report that may run a script. The script tells the frame around the page
/// how wide the page is, which texts of its charts cannot be read, and which tables leave the page.
pub(crate) fn probed(report: &str) -> String {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    assert!(report.contains(POLICY), "the page forbids itself to load or run anything");
    let probe = "<script>
        const texts = [...document.querySelectorAll('figure svg text')].map(text => ({
            text: text.getBoundingClientRect(),
            chart: text.ownerSVGElement.getBoundingClientRect(),
        })).filter(it => it.chart.width > 0 && it.text.width > 0);
        const small = texts.filter(it => it.text.height < 10.5).length;
        const outside = texts.filter(it => it.text.left < it.chart.left - 1
            || it.text.right > it.chart.right + 1 || it.text.bottom > it.chart.bottom + 1).length;
        const root = document.documentElement;
        document.querySelectorAll('details').forEach(details => details.open = true);
        const wide = [...document.querySelectorAll('table')].filter(table => {
            const around = table.parentElement.getBoundingClientRect();
            return !table.parentElement.classList.contains('scroll')
                || around.left < 0 || around.right > root.clientWidth;
        }).length;
        parent.postMessage(`in ${innerWidth}: ${root.scrollWidth - root.clientWidth} too wide, `
            + `${small} texts too small, ${outside} texts outside, ${wide} tables out`, '*');
        </script></body>";
    report.replace(POLICY, "").replace("</body>", probe)
}

/// Returns a page that shows `page` in a frame `width` pixels wide. A window of Chromium cannot be
/// as narrow as a phone; a frame can. The message of the frame becomes the title of the page.
pub(crate) fn frame(page: &str, width: u32) -> String {
    format!(
        "<title></title><script>onmessage = message => document.title = message.data</script>\
         <iframe src={page} width={width} height=900 style='border: 0'></iframe>"
    )
}
