//! Provided buffers: memory from which the kernel takes a buffer when bytes have arrived, not before.
//!
//! So a thousand receives in flight do not need a thousand buffers. The kernel takes a buffer from the
//! ring of free buffers, and names it in the completion. When its bytes are echoed, the buffer returns to
//! that ring (io_uring_register_buf_ring(3)).

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::Cell;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// Alignment that the kernel demands of the ring of free buffers; used for the buffers too.
const PAGE_BYTES: usize = 4096;

/// A group of provided buffers of one size, and the ring of those that are free.
pub(crate) struct Pool {
    /// The kernel's name for it.
    group: u16,
    /// The ring of free buffers: `count` entries, shared with the kernel.
    free: Region,
    /// The buffers: buffer `id` begins at `id * size`.
    memory: Region,
    /// Number of buffers, a power of two.
    count: u16,
    /// Size of a buffer in bytes.
    size: u32,
    /// How often a buffer was given to the kernel; the next one goes into entry `tail % count`.
    tail: Cell<u16>,
}

/// Bytes that were received, in a provided buffer. Dropping the value gives the buffer back to the kernel.
/// There is no other way, so no buffer is lost, and none is given back twice or while it is in use.
#[derive(Debug)]
pub struct Buffer {
    pool: Rc<Pool>,
    id: u16,
    len: u32,
}

impl Pool {
    /// `count` buffers of `size` bytes each as group `group`, all of them the kernel's.
    ///
    /// # Errors
    ///
    /// When there is not enough memory, or the kernel refuses the number: `count` must be a power of two
    /// and at most 32768.
    pub(crate) fn register(
        submitter: &Submitter,
        group: u16,
        count: u16,
        size: u32,
    ) -> io::Result<Rc<Pool>> {
        let free = Region::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let memory = Region::new(usize::from(count) * size as usize)?;
        // SAFETY: `free` has room for `count` entries. It is freed with the pool, and the ring keeps the
        // pool while it is open.
        unsafe { submitter.register_buf_ring_with_flags(free.addr(), count, group, 0)? };
        let pool = Rc::new(Pool { group, free, memory, count, size, tail: Cell::new(0) });
        (0..count).for_each(|id| pool.give_back(id));
        Ok(pool)
    }

    /// The `len` bytes that the kernel has received into buffer `id`.
    ///
    /// # Safety
    ///
    /// A completion must have named the buffer, and this must be the one call for that completion.
    pub(crate) unsafe fn taken(self: &Rc<Pool>, id: u16, len: u32) -> Option<Buffer> {
        let is_ours = id < self.count && len <= self.size;
        is_ours.then(|| Buffer { pool: Rc::clone(self), id, len })
    }

    /// The kernel's name for it.
    pub(crate) fn group(&self) -> u16 {
        self.group
    }

    fn give_back(&self, id: u16) {
        let (tail, entries) = (self.tail.get(), self.free.start.as_ptr().cast::<BufRingEntry>());
        // SAFETY: the entry is within `free`, and all zeroes, as it was allocated, is a valid
        // entry. The kernel reads it only when `tail` covers it. The buffer is no longer in use.
        let entry = unsafe { &mut *entries.add(usize::from(tail % self.count)) };
        entry.set_addr(self.memory.addr() + u64::from(id) * u64::from(self.size));
        entry.set_len(self.size);
        entry.set_bid(id);
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: `entries` is the start of a ring of entries; its tail is in the first one,
        // aligned. The pool belongs to one thread, and the kernel only reads the tail.
        let shared_tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) };
        // Release: the kernel must see the entry before the tail that covers it.
        shared_tail.store(self.tail.get(), Ordering::Release);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let offset = usize::from(self.id) * self.pool.size as usize;
        // SAFETY: the range is within `memory` (`taken` has checked), it was zeroed at first, and
        // the kernel writes to it again only after it was given back, when `self` is dropped.
        unsafe {
            slice::from_raw_parts(self.pool.memory.start.as_ptr().add(offset), self.len as usize)
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give_back(self.id);
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({} x {} B)", self.count, self.size)
    }
}

/// Memory that does not move and is shared with the kernel. So no reference to all of it ever exists.
struct Region {
    start: NonNull<u8>,
    layout: Layout,
}

impl Region {
    fn new(bytes: usize) -> io::Result<Region> {
        let layout = Layout::from_size_align(bytes.max(1), PAGE_BYTES).map_err(io::Error::other)?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) });
        let start = start.ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Region { start, layout })
    }

    fn addr(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
