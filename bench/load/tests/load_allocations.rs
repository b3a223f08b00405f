//! A slice allocates nothing, neither for a message nor for itself.
// A failed unwrap is the test's report.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use loadgen::{Plan, Session, Slice};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: every call goes to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn steady_state_allocates_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut buffer = vec![0; 65536];
                while let Ok(received @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..received]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let base = Plan::new(addr);
    for plan in [
        base.clone(),
        Plan { connections: 8, depth: 4, idle: 5, ..base.clone() },
        Plan { connections: 2, size: 100_000, ..base },
    ] {
        let mut session = Session::open(&plan).unwrap();
        let slice = Slice::lasting(Duration::from_millis(20)).after(Duration::from_millis(5));
        session.run(&slice).unwrap();
        let before = ALLOCATIONS.get();
        let mut messages = 0;
        for _ in 0..5 {
            messages += session.run(&slice).unwrap().messages;
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "in {messages} messages, {plan:?}");
        assert!(messages > 10);
    }
}
