//! The two queues that we share with the kernel: one takes operations, the other returns
//! completions.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd};
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

/// How long to wait for operations that were cancelled because the ring is going away.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Set in the `user_data` of the cancellation of an operation; the rest is the operation's own.
const CANCELLATION: u64 = 1 << 63;

/// An io_uring, the buffers it receives into, and all that its operations in flight are using.
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

/// The name of an operation. No other has it for the next two thousand million operations, so that
/// what comes too late, a cancellation or a completion, meets nobody rather than the wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation(u64);

/// What an operation uses for as long as it is in flight.
struct InFlight {
    operation: Operation,
    cancelled: bool,
    kind: Kind,
    /// Named by number in the operation: while it is held, no other file can get that number.
    _stream: Rc<Socket>,
    /// The caller's name for the stream.
    key: usize,
}

enum Kind {
    Poll,
    Accept,
    Receive,
    ReceiveBulk,
    Send(Outgoing),
}

/// What the kernel has done. `last` says that the operation has ended with it: a multishot
/// operation may complete any number of times before.
#[derive(Debug)]
pub enum Completion {
    /// The stream polled is readable.
    Readable,
    /// A client was accepted, or could not be.
    Accepted {
        /// The client's stream, which blocks; or an error of accept(2), or ECANCELED.
        stream: io::Result<Socket>,
        /// Whether to ask again.
        last: bool,
    },
    /// Bytes have arrived, or will not.
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
    /// An io_uring with room for `entries` operations to be submitted at once, and two stocks of
    /// provided buffers to receive into, each given as their number (a power of two) and their size
    /// in bytes.
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

    /// Waits until `stream` is readable, once.
    pub fn poll(&mut self, stream: &Rc<Socket>) -> Operation {
        let poll = opcode::PollAdd::new(fd(stream), POLLIN as u32).build();
        // SAFETY: the entry points to no memory.
        unsafe { self.start(poll, stream, 0, Kind::Poll) }
    }

    /// Accepts clients from `listener`, one completion for each, until an error or a cancellation.
    pub fn accept(&mut self, listener: &Rc<Socket>) -> Operation {
        let accept = opcode::AcceptMulti::new(fd(listener)).flags(SOCK_CLOEXEC).build();
        // SAFETY: the entry points to no memory.
        unsafe { self.start(accept, listener, 0, Kind::Accept) }
    }

    /// Receives from `stream`, one completion for each piece that arrives, until the end, an error,
    /// a cancellation, or until the kernel has no buffer left.
    pub fn receive(&mut self, stream: &Rc<Socket>, key: usize) -> Operation {
        let receive = opcode::RecvMulti::new(fd(stream), self.buffers.group()).build();
        // SAFETY: the buffers of the group live as long as the ring.
        unsafe { self.start(receive, stream, key, Kind::Receive) }
    }

    /// Receives one piece from `stream`, into a buffer of the other stock.
    pub fn receive_bulk(&mut self, stream: &Rc<Socket>, key: usize) -> Operation {
        let whole_buffer = 0;
        let receive = opcode::Recv::new(fd(stream), ptr::null_mut(), whole_buffer);
        let receive = receive.buf_group(self.bulk_buffers.group()).build();
        let receive = receive.flags(squeue::Flags::BUFFER_SELECT);
        // SAFETY: as in `receive`.
        unsafe { self.start(receive, stream, key, Kind::ReceiveBulk) }
    }

    /// Sends what the peer takes without delay; `WouldBlock` if that is nothing.
    ///
    /// Unlike other completions, that of a success does not end the wait in [`Ring::enter`]: it is
    /// there when something else does. So this is for a send that nothing else depends on.
    pub fn try_send(&mut self, stream: &Rc<Socket>, outgoing: Outgoing, key: usize) -> Operation {
        // MSG_DONTWAIT: it is done with when the call that submits it returns. So there is no need
        // for the kernel to say so, unless not all was taken (MSG_WAITALL makes that a failure). If
        // it did, each wait would find these completions there already, and return without news.
        let send = send(stream, &outgoing).flags(MSG_DONTWAIT | MSG_WAITALL).build();
        let send = send.flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: the bytes are on the heap or in a provided buffer, and stay there until the
        // completion hands `outgoing` out again: nobody can change or free them before.
        let operation = unsafe { self.start(send, stream, key, Kind::Send(outgoing)) };
        self.tried.push(operation);
        operation
    }

    /// Sends, once the peer takes something: all of it, or less.
    pub fn send(&mut self, stream: &Rc<Socket>, outgoing: Outgoing, key: usize) -> Operation {
        let send = send(stream, &outgoing).build();
        // SAFETY: as in `try_send`.
        unsafe { self.start(send, stream, key, Kind::Send(outgoing)) }
    }

    /// Asks for the end of an operation. Its last completion comes still, with ECANCELED or what it
    /// has come to before.
    pub fn cancel(&mut self, operation: Operation) {
        let Some(in_flight) = self.find(operation) else { return };
        if mem::replace(&mut in_flight.cancelled, true) {
            return;
        }
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::user_data(operation.0)).build();
        // The operation's own completion tells all there is to say, so a success of this is not
        // reported.
        let cancel = cancel.flags(squeue::Flags::SKIP_SUCCESS);
        self.queued.push_back(cancel.user_data(operation.0 | CANCELLATION));
    }

    /// Submits what was started, and waits until something has completed or for `timeout`: one
    /// system call, io_uring_enter(2). It may return early, without a completion.
    ///
    /// # Errors
    ///
    /// Those that mean the ring is of no use any more; none is expected.
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
            // All is reported. So what was tried and is not reported has succeeded.
            let mut tried = mem::take(&mut self.tried);
            for operation in tried.drain(..) {
                if let Some(InFlight { kind: Kind::Send(outgoing), .. }) = self.find(operation) {
                    let all = outgoing.rest().len();
                    self.completed(operation, Ok(all), None, true);
                }
            }
            self.tried = tried; // Its memory is good for the next turn.
        }
        match result.map_err(|error| (error.raw_os_error().map(Errno::from_raw), error)) {
            Ok(_) => Ok(()),
            // A signal came first, or the time is over.
            Err((Some(Errno::EINTR | Errno::ETIME), _)) => Ok(()),
            // Completions must be taken before there is room for more, or memory is short for now.
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
                // There was more than the queue has room for. The kernel keeps the rest until then.
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

    /// The kernel did not find what it should cancel. Mostly its last completion is behind in the
    /// queue; but it may have been between two of its shots.
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
    /// What `entry` points to must be owned by `kind` or the ring, and be at an address that stays.
    unsafe fn start(
        &mut self,
        entry: squeue::Entry,
        stream: &Rc<Socket>,
        key: usize,
        kind: Kind,
    ) -> Operation {
        let slot = self.in_flight.vacant_entry();
        let operation = Operation::new(self.generation, slot.key());
        self.generation = self.generation.wrapping_add(1);
        let _stream = Rc::clone(stream);
        slot.insert(InFlight { operation, cancelled: false, kind, _stream, key });
        self.queued.push_back(entry.user_data(operation.0));
        operation
    }

    /// Moves what was started into the submission queue. Returns whether all of it found room.
    fn fill(&mut self) -> bool {
        let mut queue = self.io.submission();
        while let Some(entry) = self.queued.front() {
            // SAFETY: `start` has seen to it that what the entry points to lives until its
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
    /// Ends what is in flight, and waits for it: the kernel may use its memory until it has ended,
    /// and closing the ring's descriptor would not wait.
    fn drop(&mut self) {
        let all: Vec<_> = self.in_flight.iter().map(|(_, in_flight)| in_flight.operation).collect();
        all.into_iter().for_each(|operation| self.cancel(operation));
        while !self.in_flight.is_empty() {
            let left = self.in_flight.len();
            let entered = self.enter(Some(LAST_MOMENT));
            while self.next_completion().is_some() {}
            if entered.is_err() || self.in_flight.len() == left {
                // To lose memory is better than to free it under the kernel's hands.
                mem::forget(mem::take(&mut self.in_flight));
                mem::forget((Rc::clone(&self.buffers), Rc::clone(&self.bulk_buffers)));
            }
        }
    }
}

impl Operation {
    fn new(generation: u32, slot: usize) -> Operation {
        // A slot is that of an open operation, and those are far fewer than 2^32.
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
    // SAFETY: the kernel has just made this descriptor for us, and told nobody else.
    Ok(unsafe { Socket::from_raw_fd(fd) })
}
