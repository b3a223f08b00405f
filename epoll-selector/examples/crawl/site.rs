//! What is known of the site: pages to fetch, pages fetched, broken links.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use epoll_selector::Token;

use crate::links::{links, resolve};
use crate::response::Response;
use crate::{Args, Target};

/// Longest chain of redirects.
const REDIRECTS_MAX: u32 = 5;

/// A page to fetch.
pub(crate) struct Task {
    pub(crate) path: String,
    /// The page with the link.
    pub(crate) from: String,
    pub(crate) retries: u32,
    pub(crate) redirects: u32,
}

/// A connection that waits for its next request.
pub(crate) struct Idle {
    pub(crate) token: Token,
    pub(crate) next: Rc<Cell<Option<Task>>>,
}

/// What all handlers share.
pub(crate) struct Crawl {
    pub(crate) args: Args,
    pub(crate) target: Target,
    pub(crate) queue: VecDeque<Task>,
    /// Tasks that are tried again, by the time when. The number tells two of one time apart.
    pub(crate) later: BTreeMap<(Instant, u32), Task>,
    /// Every page that is or was to be fetched: each only once.
    seen: HashSet<String>,
    pub(crate) idle: Vec<Idle>,
    /// Connections that are open or being made.
    pub(crate) connections: usize,
    /// The handler that hands the tasks out.
    pub(crate) dispatcher: Option<Token>,
    /// No request before this time.
    pub(crate) next_request: Instant,
    pub(crate) interrupted: bool,
    pub(crate) report: Report,
}

/// The summary.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) connections: u32,
    pub(crate) pages: u32,
    pub(crate) bytes: u64,
    pub(crate) retries: u32,
    pub(crate) statuses: BTreeMap<u16, u32>,
    /// Path, the page with the link, and what is wrong.
    pub(crate) broken: Vec<(String, String, String)>,
    /// Links that were not followed, because of `--pages`.
    pub(crate) skipped: u32,
}

impl Crawl {
    pub(crate) fn new(args: Args, target: Target) -> Crawl {
        let first = target.path.clone();
        let mut crawl = Crawl {
            args,
            target,
            queue: VecDeque::new(),
            later: BTreeMap::new(),
            seen: HashSet::new(),
            idle: Vec::new(),
            connections: 0,
            dispatcher: None,
            next_request: Instant::now(),
            interrupted: false,
            report: Report::default(),
        };
        crawl.add(first, "the command line", 0);
        crawl
    }

    /// Queues a page, unless it was seen before or is one too many.
    fn add(&mut self, path: String, from: &str, redirects: u32) {
        if self.seen.contains(&path) {
            return;
        }
        if self.seen.len() >= self.args.pages {
            self.report.skipped += 1;
            return;
        }
        self.seen.insert(path.clone());
        self.queue.push_back(Task { path, from: from.to_owned(), retries: 0, redirects });
    }

    /// A whole response is there.
    pub(crate) fn fetched(&mut self, task: Task, response: &Response, body: &[u8]) {
        self.report.pages += 1;
        *self.report.statuses.entry(response.status).or_default() += 1;
        match response.status {
            301 | 302 | 303 | 307 | 308 => self.redirect(task, response.location.as_deref()),
            400.. => self.broken(task, format!("status {}", response.status)),
            _ if response.is_html => {
                let page = String::from_utf8_lossy(body);
                for link in links(&page) {
                    if let Some(path) = resolve(link, &task.path, &self.target.host) {
                        self.add(path, &task.path, 0);
                    }
                }
            }
            _ => {}
        }
    }

    fn redirect(&mut self, task: Task, location: Option<&str>) {
        let Some(location) = location else {
            return self.broken(task, "a redirect without Location".to_owned());
        };
        if task.redirects == REDIRECTS_MAX {
            return self.broken(task, format!("more than {REDIRECTS_MAX} redirects"));
        }
        // Elsewhere is not our concern.
        if let Some(path) = resolve(location, &task.path, &self.target.host) {
            self.add(path, &task.from, task.redirects + 1);
        }
    }

    /// The connection has failed before the response was complete: tries again later, each time
    /// after twice the time, and not for ever.
    pub(crate) fn failed(&mut self, mut task: Task, why: String) {
        if task.retries == self.args.retries {
            return self.broken(task, why);
        }
        let delay = self.args.back_off.saturating_mul(1 << task.retries.min(16));
        task.retries += 1;
        self.report.retries += 1;
        self.later.insert((Instant::now() + delay, self.report.retries), task);
    }

    pub(crate) fn broken(&mut self, task: Task, why: String) {
        self.report.broken.push((task.path, task.from, why));
    }
}
