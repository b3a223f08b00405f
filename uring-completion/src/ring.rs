//! The two queues that we share with the kernel: one takes operations, the other returns completions.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, MSG_WAITALL, POLLIN, SOCK_CLOEXEC};
use slab::Slab;
use socket2::Socket;

use crate::buffers::Pool;
use crate::setup::{open, unavailable};
use crate::{Buffer, Outgoing};

/// How long to wait for the operations that the end of the ring cancels.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Set in the `user_data` of the cancellation of an operation; the rest is the operation's own.
const CANCELLATION: u64 = 1 << 63;

/// An io_uring, the buffers it receives into, and the memory that its operations in flight use.
pub struct Ring {
    io: IoUring,
    buffers: Rc<Pool>,
    bulk_buffers: Rc<Pool>,
    in_flight: Slab<InFlight>,
    /// Started since the last [`Ring::enter`].
    queued: VecDeque<squeue::Entry>,
    /// Operations started so far.
    generation: u32,
    /// Started by [`Ring::try_send`] since then.
    tried: Vec<Operation>,
    /// What has completed: sends, and all else.
    sent: VecDeque<Completion>,
    news: VecDeque<Completion>,
}

/// The name of an operation. The next two thousand million operations have other names, so a late
/// cancellation or completion finds no operation rather than the wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation(u64);

/// What an operation uses while it is in flight.
struct InFlight {
    operation: Operation,
    cancelled: bool,
    kind: Kind,
    /// The operation names the file by its number. While this handle lives, no other file gets the number.
    _file: Rc<dyn AsFd>,
    /// The caller's name for the file.
    key: usize,
}

enum Kind {
    Poll,
    Accept,
    Receive,
    ReceiveBulk,
    Send(Outgoing),
}

/// What the kernel has done. `last` says that the operation has ended: a multishot operation may
/// complete any number of times before.
#[derive(Debug)]
pub enum Completion {
    /// The file of [`Ring::poll`] is readable.
    Readable,
    /// A client was accepted, or could not be.
    Accepted {
        /// The client's stream, which blocks; or an error of accept(2), or ECANCELED.
        stream: io::Result<Socket>,
        /// Whether to ask again.
        last: bool,
    },
    /// Bytes have arrived, or the stream has ended or failed.
    Received {
        /// What [`Ring::receive`] was given.
        key: usize,
        /// The bytes, or `None` at their end; or an error of recv(2), ENOBUFS when all buffers were
        /// in use, or ECANCELED.
        bytes: io::Result<Option<Buffer>>,
        /// Whether to ask again.
        last: bool,
    },
    /// Bytes were sent, or could not be.
    Sent {
        /// What [`Ring::send`] was given.
        key: usize,
        /// How many the kernel took; or an error of send(2).
        result: io::Result<usize>,
        /// The bytes, with those taken counted as gone.
        outgoing: Outgoing,
    },
}

impl Ring {
    /// An io_uring with room for `entries` operations in one submission, and two pools of provided
    /// buffers to receive into. Each pool is given as the number of its buffers (a power of two) and their
    /// size in bytes.
    ///
    /// # Errors
    ///
    /// When the kernel has no io_uring, or an old one, or forbids it; the message says what to do.
    pub fn new(entries: u32, buffers: (u16, u32), bulk: (u16, u32)) -> io::Result<Ring> {
        let io = open(entries).map_err(unavailable)?;
        let register = |group, (count, size)| {
            Pool::register(&io.submitter(), group, count, size).map_err(unavailable)
        };
        let (buffers, bulk_buffers) = (register(0, buffers)?, register(1, bulk)?);
        Ok(Ring {
            io,
            buffers,
            bulk_buffers,
            in_flight: Slab::new(),
            queued: VecDeque::new(),
            generation: 0,
            tried: Vec::new(),
            sent: VecDeque::new(),
            news: VecDeque::new(),
        })
    }

    /// Waits until `file` is readable, once.
    pub fn poll(&mut self, file: Rc<OwnedFd>) -> Operation {
        let poll = opcode::PollAdd::new(Fd(file.as_raw_fd()), POLLIN as u32).build();
        // SAFETY: the entry points to no memory.
        unsafe { self.start(poll, file, 0, Kind::Poll) }
    }

    /// Accepts clients from `listener`, one completion for each, until an error or a cancellation.
    pub fn accept(&mut self, listener: &Rc<Socket>) -> Operation {
        let accept = opcode::AcceptMulti::new(fd(listener)).flags(SOCK_CLOEXEC).build();
        // SAFETY: the entry points to no memory.
        unsafe { self.start(accept, Rc::clone(listener) as _, 0, Kind::Accept) }
    }

    /// Receives from `stream`, one completion for each piece that arrives, until the end, an error,
    /// a cancellation, or until the kernel has no buffer left.
    pub fn receive(&mut self, stream: &Rc<Socket>, key: usize) -> Operation {
        let receive = opcode::RecvMulti::new(fd(stream), self.buffers.group()).build();
        // SAFETY: the buffers of the group live as long as the ring.
        unsafe { self.start(receive, Rc::clone(stream) as _, key, Kind::Receive) }
    }

    /// Receives one piece from `stream`, into a buffer of the pool for bulk.
    pub fn receive_bulk(&mut self, stream: &Rc<Socket>, key: usize) -> Operation {
        let whole_buffer = 0;
        let receive = opcode::Recv::new(fd(stream), ptr::null_mut(), whole_buffer);
        let receive = receive.buf_group(self.bulk_buffers.group()).build();
        let receive = receive.flags(squeue::Flags::BUFFER_SELECT);
        // SAFETY: as in `receive`.
        unsafe { self.start(receive, Rc::clone(stream) as _, key, Kind::ReceiveBulk) }
    }

    /// Sends what the peer takes without delay; `WouldBlock` if that is nothing.
    ///
    /// The completion of a success does not end the wait in [`Ring::enter`]: it is there when another
    /// completion ends the wait. So this is for a send on whose end nothing else depends.
    pub fn try_send(&mut self, stream: &Rc<Socket>, outgoing: Outgoing, key: usize) -> Operation {
        // MSG_DONTWAIT: the send is over when the call that submits it returns. So the kernel need not
        // report a success; MSG_WAITALL makes a short send a failure, which it reports. A reported
        // success would end each wait at once, without news.
        let send = send(stream, &outgoing).flags(MSG_DONTWAIT | MSG_WAITALL).build();
        let send = send.flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: the bytes are on the heap or in a provided buffer, and stay there until the
        // completion hands `outgoing` out again: nobody can change or free them before.
        let operation =
            unsafe { self.start(send, Rc::clone(stream) as _, key, Kind::Send(outgoing)) };
        self.tried.push(operation);
        operation
    }

    /// Sends when the peer takes something: all bytes, or fewer.
    pub fn send(&mut self, stream: &Rc<Socket>, outgoing: Outgoing, key: usize) -> Operation {
        let send = send(stream, &outgoing).build();
        // SAFETY: as in `try_send`.
        unsafe { self.start(send, Rc::clone(stream) as _, key, Kind::Send(outgoing)) }
    }

    /// Asks for the end of an operation. Its last completion still comes, with ECANCELED or with what it
    /// has done before.
    pub fn cancel(&mut self, operation: Operation) {
        let Some(in_flight) = self.find(operation) else { return };
        if mem::replace(&mut in_flight.cancelled, true) {
            return;
        }
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::user_data(operation.0)).build();
        // The operation's own completion tells the outcome, so a success of the cancellation is not
        // reported.
        let cancel = cancel.flags(squeue::Flags::SKIP_SUCCESS);
        self.queued.push_back(cancel.user_data(operation.0 | CANCELLATION));
    }

    /// Submits what was started, and waits until something has completed or for `timeout`: one
    /// system call, io_uring_enter(2). It may return early, without a completion.
    ///
    /// # Errors
    ///
    /// Those that end the use of the ring.
    pub fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut result = Ok(0);
        while !self.fill() && result.is_ok() {
            result = self.io.submit();
        }
        if result.is_ok() {
            result = self.submit_and_wait(timeout);
        }
        let submitted = self.queued.is_empty() && self.io.submission().is_empty();
        if self.reap() && submitted {
            // Every failure is reported. So a send that was tried and not reported has succeeded.
            let mut tried = mem::take(&mut self.tried);
            for operation in tried.drain(..) {
                if let Some(InFlight { kind: Kind::Send(outgoing), .. }) = self.find(operation) {
                    let all = outgoing.rest().len();
                    self.completed(operation, Ok(all), None, true);
                }
            }
            self.tried = tried; // The next turn reuses its memory.
        }
        match result.map_err(|error| (error.raw_os_error().map(Errno::from_raw), error)) {
            Ok(_) => Ok(()),
            // A signal came first, or the timeout has passed.
            Err((Some(Errno::EINTR | Errno::ETIME), _)) => Ok(()),
            // The completion queue is full until its entries are taken, or memory is short.
            Err((Some(Errno::EBUSY | Errno::EAGAIN), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    fn submit_and_wait(&self, timeout: Option<Duration>) -> io::Result<usize> {
        let Some(timeout) = timeout else { return self.io.submit_and_wait(1) };
        let timeout = Timespec::from(timeout);
        self.io.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
    }

    /// The next completion, if there is one; sends come first. No system call.
    pub fn next_completion(&mut self) -> Option<Completion> {
        self.sent.pop_front().or_else(|| self.news.pop_front())
    }

    /// Takes what has completed out of the queue. Returns whether that was all.
    fn reap(&mut self) -> bool {
        loop {
            let entry = self.io.completion().next();
            if let Some(entry) = entry {
                self.take(&entry);
            } else if !self.io.submission().cq_overflow() {
                return true;
            } else if self.io.submit().is_err() {
                // The kernel keeps what did not fit into the queue until the next call.
                return false;
            }
        }
    }

    fn take(&mut self, entry: &cqueue::Entry) {
        let (result, flags) = (entry.result(), entry.flags());
        let result = match result {
            errno @ ..0 => Err(io::Error::from_raw_os_error(-errno)),
            count => Ok(count.unsigned_abs() as usize),
        };
        let operation = Operation(entry.user_data() & !CANCELLATION);
        if entry.user_data() == operation.0 {
            let is_bulk =
                matches!(self.find(operation), Some(InFlight { kind: Kind::ReceiveBulk, .. }));
            let pool = if is_bulk { &self.bulk_buffers } else { &self.buffers };
            let len = result.as_ref().map_or(0, |received| *received as u32);
            // SAFETY: this completion has named the buffer, and is taken only once.
            let buffer = |id| unsafe { pool.taken(id, len) };
            let buffer = cqueue::buffer_select(flags).and_then(buffer);
            self.completed(operation, result, buffer, !cqueue::more(flags));
        } else {
            self.not_cancelled(operation);
        }
    }

    /// An operation has completed, for the last time or not.
    fn completed(
        &mut self,
        operation: Operation,
        result: io::Result<usize>,
        buffer: Option<Buffer>,
        last: bool,
    ) {
        let Some(&mut InFlight { ref kind, key, .. }) = self.find(operation) else { return };
        match kind {
            Kind::Poll => self.news.push_back(Completion::Readable),
            Kind::Accept => {
                self.news.push_back(Completion::Accepted { stream: accepted(result), last });
            }
            Kind::Receive | Kind::ReceiveBulk => {
                let bytes = result.map(|_| buffer.filter(|bytes| !bytes.is_empty()));
                self.news.push_back(Completion::Received { key, bytes, last });
            }
            Kind::Send(_) => {
                let Kind::Send(mut outgoing) = self.in_flight.remove(operation.slot()).kind else {
                    return;
                };
                outgoing.advance(*result.as_ref().unwrap_or(&0));
                self.sent.push_back(Completion::Sent { key, result, outgoing });
                return;
            }
        }
        if last {
            self.in_flight.remove(operation.slot());
        }
    }

    fn find(&mut self, operation: Operation) -> Option<&mut InFlight> {
        let in_flight = self.in_flight.get_mut(operation.slot());
        in_flight.filter(|in_flight| in_flight.operation == operation)
    }

    /// The kernel did not find the operation to cancel. Most often its last completion is still in the
    /// queue. But a multishot operation may have been between two of its shots: then cancel it again.
    fn not_cancelled(&mut self, operation: Operation) {
        if let Some(in_flight) = self.find(operation) {
            in_flight.cancelled = false;
            self.cancel(operation);
        }
    }

    /// Queues an operation, and keeps what it uses.
    ///
    /// # Safety
    ///
    /// What `entry` points to must be owned by `kind` or the ring, and must not move.
    unsafe fn start(
        &mut self,
        entry: squeue::Entry,
        file: Rc<dyn AsFd>,
        key: usize,
        kind: Kind,
    ) -> Operation {
        let slot = self.in_flight.vacant_entry();
        let operation = Operation::new(self.generation, slot.key());
        self.generation = self.generation.wrapping_add(1);
        slot.insert(InFlight { operation, cancelled: false, kind, _file: file, key });
        self.queued.push_back(entry.user_data(operation.0));
        operation
    }

    /// Moves what was started into the submission queue. Returns whether all of it found room.
    fn fill(&mut self) -> bool {
        let mut queue = self.io.submission();
        while let Some(entry) = self.queued.front() {
            // SAFETY: the caller of `start` guarantees that what the entry points to lives until its
            // completion.
            if unsafe { queue.push(entry) }.is_err() {
                return false;
            }
            self.queued.pop_front();
        }
        true
    }
}

impl Drop for Ring {
    /// Ends what is in flight, and waits for the end: until then the kernel may use its memory. Closing
    /// the ring's descriptor would not wait.
    fn drop(&mut self) {
        let all: Vec<_> = self.in_flight.iter().map(|(_, in_flight)| in_flight.operation).collect();
        all.into_iter().for_each(|operation| self.cancel(operation));
        while !self.in_flight.is_empty() {
            let left = self.in_flight.len();
            let entered = self.enter(Some(LAST_MOMENT));
            while self.next_completion().is_some() {}
            if entered.is_err() || self.in_flight.len() == left {
                // A leak is better than memory that is freed while the kernel uses it.
                mem::forget(mem::take(&mut self.in_flight));
                mem::forget((Rc::clone(&self.buffers), Rc::clone(&self.bulk_buffers)));
            }
        }
    }
}

impl Operation {
    fn new(generation: u32, slot: usize) -> Operation {
        // The slots are numbered by open operations, of which there are far fewer than 2^32.
        Operation((u64::from(generation) << 32 | slot as u64) & !CANCELLATION)
    }

    fn slot(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

fn fd(stream: &Rc<Socket>) -> Fd {
    Fd(stream.as_raw_fd())
}

fn send(stream: &Rc<Socket>, outgoing: &Outgoing) -> opcode::Send {
    let bytes = outgoing.rest();
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    opcode::Send::new(fd(stream), bytes.as_ptr(), len)
}

fn accepted(result: io::Result<usize>) -> io::Result<Socket> {
    let fd = i32::try_from(result?).map_err(io::Error::other)?;
    // SAFETY: the kernel has made this descriptor for us, and no other code knows it.
    Ok(unsafe { Socket::from_raw_fd(fd) })
}
