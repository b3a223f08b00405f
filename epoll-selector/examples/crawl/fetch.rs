//! The handlers: one that hands out the pages, and one for each connection.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use epoll_selector::{Context, Conversation, End, Handler, Next, Protocol, Talk, Until, connect};

use crate::body::Part;
use crate::response::Response;
use crate::site::{Crawl, Idle, Task};

/// Longest head of a response, in bytes.
const HEAD_MAX: usize = 32 * 1024;

/// A timer is up to a millisecond late, and a page may come late. Requests up to this late are
/// caught up, so that a high rate is kept.
const CATCH_UP: Duration = Duration::from_millis(10);

/// Hands the tasks out: no more at once than `--connections`, and no more in a second than
/// `--rate`.
pub(crate) struct Dispatcher;

impl Handler<Crawl> for Dispatcher {
    fn added(&mut self, context: &mut Context<'_, Crawl>) -> io::Result<Next> {
        context.shared.dispatcher = Some(context.token());
        self.woken(context)
    }

    /// A task has come, or a connection is free, or has ended.
    fn woken(&mut self, context: &mut Context<'_, Crawl>) -> io::Result<Next> {
        let now = Instant::now();
        while let Some(due) = context.shared.later.first_entry().filter(|due| due.key().0 <= now) {
            let task = due.remove();
            context.shared.queue.push_back(task);
        }
        let mut wait = context.shared.later.first_key_value().map(|((at, _), _)| *at);
        while !context.shared.queue.is_empty() {
            let crawl = &mut *context.shared;
            if crawl.idle.is_empty() && crawl.connections == crawl.args.connections {
                break; // The next connection that is free wakes us.
            }
            if now < crawl.next_request {
                wait = Some(wait.map_or(crawl.next_request, |at| at.min(crawl.next_request)));
                break;
            }
            let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
            crawl.next_request = crawl.next_request.max(earliest) + crawl.args.interval();
            if let Some(task) = crawl.queue.pop_front() {
                hand_out(task, context);
            }
        }
        context.timer(wait);
        let crawl = &mut *context.shared;
        let is_over = crawl.queue.is_empty()
            && crawl.later.is_empty()
            && crawl.connections == crawl.idle.len();
        if is_over {
            for idle in std::mem::take(&mut crawl.idle) {
                context.close(idle.token);
            }
            return Ok(Next::Close);
        }
        Ok(Next::Keep)
    }

    fn timeout(&mut self, context: &mut Context<'_, Crawl>) -> io::Result<Next> {
        self.woken(context)
    }

    fn stop(&mut self, context: &mut Context<'_, Crawl>) -> io::Result<Next> {
        context.shared.interrupted = true;
        Ok(Next::Close)
    }
}

/// Gives a task to an idle connection, or to a new one.
fn hand_out(task: Task, context: &mut Context<'_, Crawl>) {
    if let Some(idle) = context.shared.idle.pop() {
        idle.next.set(Some(task));
        return context.wake(idle.token);
    }
    match connect(&context.shared.target.addr) {
        Ok(socket) => {
            context.shared.connections += 1;
            context.shared.report.connections += 1;
            let limit = context.shared.args.timeout;
            let fetch = Conversation::connecting(socket, Fetch::new(task), limit);
            context.add(fetch.until(Part::Head.until()).longest(HEAD_MAX));
        }
        Err(error) => context.shared.failed(task, error.to_string()),
    }
}

/// One connection: sends a request, reads its response, and waits for the next task.
struct Fetch {
    task: Option<Task>,
    /// Where the dispatcher puts the next task.
    next: Rc<Cell<Option<Task>>>,
    /// What the next message is; None: the rest of the stream.
    part: Option<Part>,
    response: Option<Response>,
    /// The content, if it is HTML.
    body: Vec<u8>,
    /// Bytes of content.
    received: u64,
}

impl Fetch {
    fn new(task: Task) -> Fetch {
        let part = Some(Part::Head);
        let (body, next) = (Vec::new(), Rc::default());
        Fetch { task: Some(task), next, part, response: None, body, received: 0 }
    }

    fn request(&mut self, talk: &mut Talk<'_, Crawl>) {
        let Some(task) = &self.task else { return };
        let (path, crawl) = (&task.path, &talk.context.shared);
        let timeout = crawl.args.timeout;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: crawl\r\nAccept: */*\r\n\r\n",
            crawl.target.host
        );
        talk.push(request);
        talk.context.timer(Some(Instant::now() + timeout)); // For the whole page.
    }

    fn take_head(&mut self, head: &[u8], talk: &mut Talk<'_, Crawl>) -> io::Result<()> {
        let head = [head, b"\r\n\r\n"].concat();
        let Some(response) = Response::parse(&head) else {
            return self.give_up("the response is not HTTP", talk);
        };
        if (100..200).contains(&response.status) {
            return Ok(()); // The response proper follows.
        }
        let body = response.body;
        self.response = Some(response);
        self.expect(body.map(Part::of), talk);
        Ok(())
    }

    fn take_content(&mut self, bytes: &[u8], talk: &mut Talk<'_, Crawl>) -> io::Result<()> {
        self.received += bytes.len() as u64;
        if self.received > talk.context.shared.args.longest_body {
            return self.give_up("the page is longer than --longest-body", talk);
        }
        if self.response.as_ref().is_some_and(|response| response.is_html) {
            self.body.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Sets what comes next. A head would be that of the next response, so this one is complete.
    fn expect(&mut self, next: Option<Part>, talk: &mut Talk<'_, Crawl>) {
        self.part = next;
        talk.until(next.map_or(Until::Any, Part::until));
        if next == Some(Part::Head) {
            self.complete(talk);
        }
    }

    fn complete(&mut self, talk: &mut Talk<'_, Crawl>) {
        let (Some(task), Some(response)) = (self.task.take(), self.response.take()) else { return };
        let (token, crawl) = (talk.context.token(), &mut *talk.context.shared);
        crawl.report.bytes += self.received;
        crawl.fetched(task, &response, &self.body);
        (self.body, self.received) = (Vec::new(), 0);
        if response.keeps && self.part.is_some() {
            crawl.idle.push(Idle { token, next: Rc::clone(&self.next) });
            talk.context.timer(None);
        } else {
            talk.context.close(token); // All has arrived: there is no need to linger.
        }
        wake_dispatcher(&mut talk.context);
    }

    /// Ends the connection for a reason that another try would not change.
    fn give_up(&mut self, why: &str, talk: &mut Talk<'_, Crawl>) -> io::Result<()> {
        if let Some(task) = self.task.take() {
            talk.context.shared.broken(task, why.to_owned());
        }
        Err(io::Error::new(ErrorKind::InvalidData, why))
    }
}

impl Protocol<Crawl> for Fetch {
    fn opened(&mut self, talk: &mut Talk<'_, Crawl>) -> io::Result<()> {
        self.request(talk);
        Ok(())
    }

    /// The dispatcher has put a task here.
    fn woken(&mut self, talk: &mut Talk<'_, Crawl>) -> io::Result<()> {
        self.task = self.next.take();
        self.request(talk);
        Ok(())
    }

    fn message(&mut self, bytes: &[u8], talk: &mut Talk<'_, Crawl>) -> io::Result<()> {
        if self.task.is_none() {
            return Err(io::Error::new(ErrorKind::InvalidData, "bytes without a request"));
        }
        let Some(part) = self.part else { return self.take_content(bytes, talk) };
        if part == Part::Head {
            return self.take_head(bytes, talk);
        }
        if part.is_content() {
            self.take_content(bytes, talk)?;
        }
        match part.after(bytes) {
            Some(next) => self.expect(Some(next), talk),
            None => return self.give_up("the chunks of the response are broken", talk),
        }
        Ok(())
    }

    fn too_long(&mut self, longest: usize, talk: &mut Talk<'_, Crawl>) -> io::Result<()> {
        self.give_up(&format!("a head or line is longer than {longest} bytes"), talk)
    }

    fn end_of_input(&mut self, _: &[u8], talk: &mut Talk<'_, Crawl>) -> io::Result<()> {
        if self.part.is_none() {
            self.complete(talk); // The end of the stream is the end of this content.
        }
        if self.task.is_some() {
            return Err(ErrorKind::UnexpectedEof.into()); // `ended` tries the page again.
        }
        talk.close();
        Ok(())
    }

    fn ended(&mut self, why: End, context: &mut Context<'_, Crawl>) {
        let (token, crawl) = (context.token(), &mut *context.shared);
        crawl.connections -= 1;
        crawl.idle.retain(|idle| idle.token != token);
        if let Some(task) = self.task.take().or_else(|| self.next.take())
            && !crawl.interrupted
        {
            crawl.failed(task, why.to_string());
        }
        wake_dispatcher(context);
    }
}

fn wake_dispatcher(context: &mut Context<'_, Crawl>) {
    if let Some(dispatcher) = context.shared.dispatcher {
        context.wake(dispatcher);
    }
}
