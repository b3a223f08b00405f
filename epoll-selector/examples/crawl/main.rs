//! An HTTP crawler: follows the links of one site, and reports those that are broken.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example http -- --root target/doc
//! $ cargo run --release -p epoll-selector --example crawl -- http://127.0.0.1:7000/echo/index.html
//! 64 pages, 1368987 bytes, 2 connections, 0 retries, 0.7 s
//! status 200: 64
//! ```
//!
//! The client's side of the toolkit: connections out that do not wait, a time limit for each page,
//! retries. One handler without a descriptor hands out the pages, so the limits for all connections
//! together are in one place. The bodies are read as the `http` example reads them: both use its
//! `body.rs`.
//!
//! Not here: TLS, robots.txt (crawl your own site), `<base>`, compression, cookies, links in
//! scripts.

#[path = "../http/body.rs"]
mod body;
mod fetch;
mod links;
mod response;
mod site;

use std::io::{self, Write};
use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use echo::Stop;
use epoll_selector::{Mio, Reactor, Selector, Trigger};
use socket2::SockAddr;

use crate::fetch::Dispatcher;
use crate::site::Crawl;

/// Follows the links of one site; exit status 1 if a link is broken
#[derive(Parser)]
struct Args {
    /// The first page: http://HOST[:PORT][/PATH]
    url: String,

    /// Most connections at once
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = parse_count)]
    connections: usize,

    /// Most requests in a second, of all connections together
    #[arg(long, value_name = "COUNT", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// Most pages; links beyond are counted and not followed
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = parse_count)]
    pages: usize,

    /// Longest page in bytes; a longer one counts as broken
    #[arg(long, value_name = "BYTES", default_value_t = 8 * 1024 * 1024)]
    longest_body: u64,

    /// Longest time to connect, and from a request to the end of its response
    #[arg(long, value_name = "DURATION", default_value = "10s",
          value_parser = echo::parse_duration)]
    timeout: Duration,

    /// Times that a page is tried again after its connection has failed
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    retries: u32,

    /// Time before the first retry; each further one waits twice as long
    #[arg(long, value_name = "DURATION", default_value = "200ms",
          value_parser = echo::parse_duration)]
    back_off: Duration,
}

impl Args {
    /// The shortest time between two requests.
    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.rate
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}

/// Where the site is.
struct Target {
    /// The host, and the port if it is not 80, as in the URL.
    host: String,
    addr: SockAddr,
    /// The first page.
    path: String,
}

impl Target {
    /// Looks the host up, and waits for that.
    fn find(url: &str) -> Result<Target, String> {
        let rest = url.strip_prefix("http://").ok_or("the URL must begin with http://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let host =
            Some(&rest[..end]).filter(|host| !host.is_empty()).ok_or("the URL has no host")?;
        let path = links::resolve(&rest[end..], "/", host).unwrap_or_else(|| "/".to_owned());
        let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        let has_port = matches!(port, Some(Ok(_))); // Not so in "[::1]".
        let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
        let mut addrs = with_port.to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
        let addr = addrs.next().ok_or_else(|| format!("{host} has no address"))?;
        let is_plain = host.bytes().all(|byte| byte.is_ascii_graphic());
        is_plain.then_some(()).ok_or("the host must be ASCII")?;
        Ok(Target { host: host.to_owned(), addr: addr.into(), path })
    }
}

fn main() -> ExitCode {
    match crawl(Args::parse()) {
        Ok(crawl) if crawl.report.broken.is_empty() && !crawl.interrupted => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => echo::finish(Err(error)),
    }
}

fn crawl(args: Args) -> echo::Result<Crawl> {
    let target = Target::find(&args.url).map_err(echo::Error::bad_arguments)?;
    let start = Instant::now();
    let mut reactor = Reactor::new(Mio::new(Trigger::Edge)?, Crawl::new(args, target));
    reactor.stop_on(Arc::new(Stop::new()?), Duration::ZERO);
    reactor.add(Dispatcher);
    let mut crawl = reactor.run()?;
    let summary = summary(&mut crawl, start.elapsed());
    io::stdout().write_all(summary.as_bytes()).map_err(echo::Error::Stdout)?;
    Ok(crawl)
}

fn summary(crawl: &mut Crawl, took: Duration) -> String {
    let report = &mut crawl.report;
    report.broken.sort();
    let mut lines = format!(
        "{} pages, {} bytes, {} connections, {} retries, {:.1} s\n",
        report.pages,
        report.bytes,
        report.connections,
        report.retries,
        took.as_secs_f64()
    );
    for (status, count) in &report.statuses {
        lines += &format!("status {status}: {count}\n");
    }
    for (path, from, why) in &report.broken {
        lines += &format!("broken: {path} on {from}: {why}\n");
    }
    if report.skipped > 0 {
        lines += &format!("not followed, because of --pages: {} links\n", report.skipped);
    }
    if crawl.interrupted {
        lines += "interrupted\n";
    }
    lines
}
