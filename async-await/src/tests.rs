//! The promises of the executor. They hold for one thread and for several.

use std::future::{pending, poll_fn};
use std::io::Write;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Direction, Either, Executor, Sleep, Source, race};

/// Time for what must not happen to happen.
const MOMENT: Duration = Duration::from_millis(50);

/// Far longer than anything here takes: a wait this long is a failure, and not a slow machine.
const LONG: Duration = Duration::from_secs(20);

/// Runs a test with one thread and with four.
fn with_threads(test: impl Fn(&Arc<Executor>, usize)) {
    for threads in [1, 4] {
        test(&Executor::new().unwrap(), threads);
    }
}

async fn sleep(executor: &Arc<Executor>, time: Duration) {
    Sleep::until(executor, Instant::now() + time).await;
}

/// Waits on `executor` until `condition` is true.
async fn until(executor: &Arc<Executor>, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited for {LONG:?}");
        sleep(executor, Duration::from_millis(1)).await;
    }
}

/// A task that never ends and says how often it was polled; and its waker, once it was.
#[derive(Clone, Default)]
struct Polled {
    count: Arc<AtomicUsize>,
    waker: Arc<Mutex<Option<Waker>>>,
}

impl Polled {
    fn task(&self) -> impl Future<Output = ()> + Send + 'static {
        let Polled { count, waker } = self.clone();
        poll_fn(move |context| {
            *waker.lock().unwrap() = Some(context.waker().clone());
            count.fetch_add(1, SeqCst);
            Poll::Pending
        })
    }

    fn count(&self) -> usize {
        self.count.load(SeqCst)
    }

    fn waker(&self) -> Waker {
        self.waker.lock().unwrap().clone().unwrap()
    }
}

/// A socket of `executor`, and its peer.
fn pair(executor: &Arc<Executor>) -> (Source, UnixStream) {
    let (ours, peer) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Source::new(executor, std::os::fd::OwnedFd::from(ours).into()), peer)
}

/// Whether the kernel's list has this socket: epoll's entry in proc_pid_fdinfo(5).
#[cfg(target_os = "linux")]
fn is_registered(executor: &Executor, socket: i32) -> bool {
    let epoll = executor.poller.as_raw_fd();
    let list = std::fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")).unwrap();
    let mut entries = list.lines().filter_map(|line| line.strip_prefix("tfd:"));
    entries.any(|entry| entry.split_whitespace().next() == Some(&socket.to_string()))
}

#[test]
fn a_task_that_is_not_woken_is_not_polled_again() {
    with_threads(|executor, threads| {
        let (polled, here) = (Polled::default(), Arc::clone(executor));
        executor.spawn(polled.task());
        executor.block_on(threads, async move { sleep(&here, MOMENT).await }).unwrap();
        assert_eq!(polled.count(), 1);
    });
}

#[test]
fn a_task_that_is_woken_twice_is_polled_once() {
    let executor = Executor::new().unwrap();
    let (polled, here) = (Polled::default(), Arc::clone(&executor));
    let task = polled.clone();
    let main = async move {
        here.spawn(task.task());
        until(&here, || task.count() == 1).await;
        // No other thread can poll it between these.
        task.waker().wake();
        task.waker().wake_by_ref();
        until(&here, || task.count() == 2).await;
        sleep(&here, MOMENT).await;
    };
    executor.block_on(1, main).unwrap();
    assert_eq!(polled.count(), 2);
}

#[test]
fn a_task_that_is_woken_while_it_is_polled_is_polled_again() {
    with_threads(|executor, threads| {
        let mut polls = 0;
        let task = poll_fn(move |context| {
            polls += 1;
            context.waker().wake_by_ref();
            context.waker().wake_by_ref();
            if polls == 100 { Poll::Ready(polls) } else { Poll::Pending }
        });
        assert_eq!(executor.block_on(threads, task).unwrap(), 100);
    });
}

#[test]
fn a_future_that_is_polled_without_being_woken_waits_on() {
    with_threads(|executor, threads| {
        let (source, mut peer) = pair(executor);
        let here = Arc::clone(executor);
        let main = async move {
            let mut ready = source.ready(Direction::Read);
            let mut long = Sleep::until(&here, Instant::now() + LONG);
            for _ in 0..20 {
                // This timer wakes the task, which polls the other two for nothing.
                let short = pin!(sleep(&here, MOMENT / 50));
                let first = race(race(&mut ready, &mut long), short).await;
                assert!(matches!(first, Either::Right(())));
                let core = here.lock();
                assert_eq!((core.timers.len(), core.interests.len()), (1, 1));
            }
            peer.write_all(b"hello").unwrap();
            let first = race(&mut ready, &mut long).await;
            assert!(matches!(first, Either::Left(Ok(()))));
        };
        executor.block_on(threads, main).unwrap();
        assert_eq!(executor.lock().timers.len(), 0);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_task_that_is_dropped_in_mid_read_leaves_nothing_registered() {
    with_threads(|executor, threads| {
        let (source, mut peer) = pair(executor);
        let socket = source.socket().as_raw_fd();
        // The kernel's list would lose a socket that is closed, but not while it has another descriptor.
        let duplicate = source.socket().try_clone().unwrap();
        executor.spawn(async move { source.read(&mut [0; 10]).await.map(drop) });
        let here = Arc::clone(executor);
        let main = async move { until(&here, || is_registered(&here, socket)).await };
        // The task that reads is dropped when `main` has ended.
        executor.block_on(threads, main).unwrap();
        assert!(!is_registered(executor, socket));
        let core = executor.lock();
        assert_eq!((core.tasks.len(), core.interests.len(), core.timers.len()), (0, 0, 0));
        drop(duplicate);
        assert!(peer.write_all(b"x").is_err(), "the socket is still open");
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_read_that_loses_a_race_leaves_nothing_registered() {
    let executor = Executor::new().unwrap();
    let (source, mut peer) = pair(&executor);
    let here = Arc::clone(&executor);
    let main = async move {
        let mut buffer = [0; 10];
        {
            let (read, time) = (pin!(source.read(&mut buffer)), pin!(sleep(&here, MOMENT)));
            assert!(matches!(race(read, time).await, Either::Right(())));
        }
        assert!(!is_registered(&here, source.socket().as_raw_fd()));
        // The source goes on.
        peer.write_all(b"hello").unwrap();
        assert_eq!(source.read(&mut buffer).await.unwrap(), 5);
    };
    executor.block_on(1, main).unwrap();
    assert_eq!(executor.lock().timers.len(), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn an_event_that_no_task_waits_for_is_not_repeated() {
    let executor = Executor::new().unwrap();
    let (source, mut peer) = pair(&executor);
    let here = Arc::clone(&executor);
    let main = async move {
        peer.write_all(b"hello").unwrap();
        source.ready(Direction::Read).await.unwrap();
        let socket = source.socket().as_raw_fd();
        assert!(is_registered(&here, socket), "the next read would have to register it again");
        // The bytes are not read, so the level-triggered selector would report them at every wait.
        sleep(&here, MOMENT).await;
        assert!(!is_registered(&here, socket));
        source.ready(Direction::Write).await.unwrap();
        source.ready(Direction::Read).await.unwrap();
        assert_eq!(source.read(&mut [0; 10]).await.unwrap(), 5);
        // What is behind a short read is reported, too: here the end of stream.
        peer.write_all(b"bye").unwrap();
        drop(peer);
        assert_eq!(source.read(&mut [0; 10]).await.unwrap(), 3);
        assert_eq!(source.read(&mut [0; 10]).await.unwrap(), 0);
    };
    executor.block_on(1, main).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_source_that_is_dropped_is_off_the_list() {
    let executor = Executor::new().unwrap();
    let (source, mut peer) = pair(&executor);
    let here = Arc::clone(&executor);
    let main = async move {
        let socket = source.socket().as_raw_fd();
        let duplicate = source.socket().try_clone().unwrap();
        peer.write_all(b"hello").unwrap();
        source.ready(Direction::Read).await.unwrap();
        assert!(is_registered(&here, socket));
        drop(source);
        assert!(!is_registered(&here, socket));
        drop(duplicate);
    };
    executor.block_on(1, main).unwrap();
}

#[test]
fn a_panic_ends_its_task_alone() {
    /// Panics when it is dropped.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new("a destructor's panic"));
        }
    }
    with_threads(|executor, threads| {
        let here = Arc::clone(executor);
        let main = async move {
            let other = here.spawn({
                let here = Arc::clone(&here);
                async move { sleep(&here, MOMENT).await }
            });
            let panicked = here.spawn(async { resume_unwind(Box::new("the task's panic")) }).await;
            let text = panicked.map_err(|panic| *panic.downcast::<&str>().unwrap());
            assert_eq!(text, Err::<(), _>("the task's panic"));
            let bomb = Bomb;
            let holds_it = poll_fn(move |_| {
                let _ = &bomb;
                Poll::Ready(7)
            });
            assert_eq!(here.spawn(holds_it).await.ok(), Some(7));
            other.await.unwrap();
            "goes on"
        };
        assert_eq!(executor.block_on(threads, main).unwrap(), "goes on");
    });
}

#[test]
fn a_panic_of_the_main_future_goes_on_in_the_caller() {
    with_threads(|executor, threads| {
        let main = async { resume_unwind(Box::new("main's panic")) };
        let run = || executor.block_on(threads, main).map(|()| "no panic");
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(*panic.downcast::<&str>().unwrap(), "main's panic");
    });
}

#[test]
fn a_waker_outlives_its_task() {
    with_threads(|executor, threads| {
        let here = Arc::clone(executor);
        let main = async move {
            let first = Polled::default();
            let (task, mut polls) = (first.task(), 0);
            let mut task = Box::pin(task);
            let ends = here.spawn(poll_fn(move |context| {
                polls += 1;
                let _ = task.as_mut().poll(context);
                if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
            }));
            until(&here, || first.count() == 1).await;
            first.waker().wake();
            ends.await.unwrap();
            // The next task gets the key of the one that has ended.
            let second = Polled::default();
            here.spawn(second.task());
            until(&here, || second.count() == 1).await;
            first.waker().wake();
            sleep(&here, MOMENT).await;
            assert_eq!((first.count(), second.count()), (2, 1));
            second.waker()
        };
        // And its executor's end.
        let waker = executor.block_on(threads, main).unwrap();
        waker.wake();
    });
}

#[test]
fn tasks_that_are_left_are_dropped_and_the_executor_goes_on() {
    with_threads(|executor, threads| {
        let held = Arc::new(());
        for _ in 0..3 {
            let (also_held, here) = (Arc::clone(&held), Arc::clone(executor));
            executor.spawn(async move {
                pending::<()>().await;
                drop(also_held);
            });
            // This one is in the queue at the end.
            executor.spawn(poll_fn(|context| {
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            }));
            let main = async move { sleep(&here, MOMENT / 10).await };
            executor.block_on(threads, main).unwrap();
            assert_eq!(Arc::strong_count(&held), 1);
        }
        assert_eq!(Arc::strong_count(executor), 1, "something holds the executor");
    });
}

#[test]
fn ten_thousand_tasks() {
    const TASKS: usize = 10_000;
    with_threads(|executor, threads| {
        // A baton goes from task to task: a wake that is lost, or reaches another task, stops it.
        let baton = Arc::new((AtomicUsize::new(TASKS), Mutex::new(vec![None::<Waker>; TASKS + 1])));
        let carry = |number| {
            let baton = Arc::clone(&baton);
            poll_fn(move |context| {
                let (at, wakers) = &*baton;
                let mut wakers = wakers.lock().unwrap();
                wakers[number] = Some(context.waker().clone());
                if at.load(SeqCst) != number {
                    return Poll::Pending;
                }
                at.store(number + 1, SeqCst);
                if let Some(next) = wakers[number + 1].take() {
                    next.wake();
                }
                Poll::Ready(())
            })
        };
        (0..TASKS).for_each(|number| drop(executor.spawn(carry(number))));
        let (here, baton) = (Arc::clone(executor), Arc::clone(&baton));
        let main = async move {
            let (at, wakers) = &*baton;
            until(&here, || wakers.lock().unwrap()[..TASKS].iter().all(Option::is_some)).await;
            assert_eq!(here.lock().tasks.len(), TASKS + 1);
            at.store(0, SeqCst);
            let first = wakers.lock().unwrap()[0].take();
            first.unwrap().wake();
            until(&here, || at.load(SeqCst) == TASKS).await;
            until(&here, || here.lock().tasks.len() == 1).await;
        };
        executor.block_on(threads, main).unwrap();
    });
}

#[test]
fn wakes_from_other_threads() {
    const THREADS: usize = 4;
    const WAKES: usize = 2_000;
    with_threads(|executor, threads| {
        let (sent, polled) = (Arc::new(AtomicUsize::new(0)), Polled::default());
        let (told, task) = (Arc::clone(&sent), polled.clone());
        let here = Arc::clone(executor);
        let main = async move {
            let mut task = Box::pin(task.task());
            // The last wake must be followed by a poll, or this never ends.
            let all = poll_fn(move |context| {
                let _ = task.as_mut().poll(context);
                if told.load(SeqCst) == THREADS * WAKES { Poll::Ready(()) } else { Poll::Pending }
            });
            let limit = Sleep::until(&here, Instant::now() + LONG);
            assert!(matches!(race(pin!(all), limit).await, Either::Left(())), "a wake is lost");
        };
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    thread::sleep(MOMENT); // By now the executor sleeps.
                    for _ in 0..WAKES {
                        sent.fetch_add(1, SeqCst);
                        polled.waker().wake();
                    }
                });
            }
            executor.block_on(threads, main).unwrap();
        });
    });
}

#[test]
fn a_task_that_computes_holds_up_one_thread_only() {
    let executor = Executor::new().unwrap();
    let (here, (send, receive)) = (Arc::clone(&executor), mpsc::channel());
    let main = async move {
        let blocks = here.spawn(async move { receive.recv_timeout(LONG) });
        sleep(&here, MOMENT).await;
        send.send("from another thread").unwrap();
        blocks.await.unwrap()
    };
    assert_eq!(executor.block_on(2, main).unwrap(), Ok("from another thread"));
}

#[test]
fn timers_fire_in_order_and_never_early() {
    with_threads(|executor, threads| {
        let fired = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now();
        let timer = |number: u32| {
            let (here, fired) = (Arc::clone(executor), Arc::clone(&fired));
            let until = start + MOMENT / 5 * number;
            executor.spawn(async move {
                Sleep::until(&here, until).await;
                assert!(Instant::now() >= until, "timer {number} is early");
                fired.lock().unwrap().push(number);
            })
        };
        let timers = [3, 1, 5, 2, 4].map(timer);
        let here = Arc::clone(executor);
        let main = async move {
            drop(Sleep::until(&here, start)); // It was never polled.
            for timer in timers {
                timer.await.unwrap();
            }
        };
        executor.block_on(threads, main).unwrap();
        assert_eq!(executor.lock().timers.len(), 0);
        let fired = fired.lock().unwrap();
        match threads {
            1 => assert_eq!(*fired, [1, 2, 3, 4, 5]),
            _ => assert_eq!(fired.len(), 5), // Two threads may be late by different times.
        }
    });
}

#[test]
fn an_earlier_timer_shortens_the_sleep_that_is_going_on() {
    let executor = Executor::new().unwrap();
    let here = Arc::clone(&executor);
    let start = Instant::now();
    let main = async move {
        let long = {
            let here = Arc::clone(&here);
            here.clone().spawn(async move { sleep(&here, LONG).await })
        };
        sleep(&here, MOMENT).await;
        // Another thread sleeps in the selector for `long` by now.
        thread::sleep(MOMENT);
        sleep(&here, MOMENT).await;
        drop(long);
    };
    executor.block_on(2, main).unwrap();
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn a_task_that_is_always_ready_leaves_the_others_their_events() {
    let executor = Executor::new().unwrap();
    let deadline = Instant::now() + LONG;
    executor.spawn(poll_fn(move |context| {
        context.waker().wake_by_ref();
        if Instant::now() < deadline { Poll::Pending } else { Poll::Ready(()) }
    }));
    let here = Arc::clone(&executor);
    let main = async move { sleep(&here, MOMENT).await };
    executor.block_on(1, main).unwrap();
    assert!(Instant::now() < deadline);
}

#[test]
fn a_task_that_always_has_more_to_read_gives_the_others_their_turn() {
    let executor = Executor::new().unwrap();
    let (source, mut peer) = pair(&executor);
    peer.set_nonblocking(true).unwrap();
    let mut arrived = 0;
    while let Ok(sent) = peer.write(&[7; 4096]) {
        arrived += sent;
    }
    let read = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&read);
    executor.spawn(async move {
        let mut buffer = [0; 1024];
        while count.load(SeqCst) < arrived {
            count.fetch_add(source.read(&mut buffer).await.unwrap(), SeqCst);
        }
    });
    // It is behind the other one in the queue.
    let seen = executor.block_on(1, async move { read.load(SeqCst) }).unwrap();
    assert!(0 < seen && seen < arrived, "{seen} of {arrived}");
}
