//! The processors on which server and client run.

use std::io;
use std::str::FromStr;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The CPUs on which the server and the client run. With an empty list, the kernel chooses the CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The server's CPUs.
    pub server: Vec<usize>,
    /// The client's CPUs.
    pub client: Vec<usize>,
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Layout, String> {
        let (server, client) = match text {
            "none" => return Ok(Layout::default()),
            "split" => ("0", "1"),
            _ => text.split_once('/').ok_or("give none, split, or SERVER/CLIENT, e.g. 0/1")?,
        };
        let list = |text: &str| -> Result<Vec<usize>, String> {
            let cpus = text.split(',').map(|cpu| cpu.parse());
            cpus.collect::<Result<_, _>>().map_err(|_| format!("{text:?} is not a list of CPUs"))
        };
        Ok(Layout { server: list(server)?, client: list(client)? })
    }
}

impl Layout {
    /// Returns the layout on `processors` processors. With one processor, server and client share
    /// the first processor that this process may use. With more, the server runs on the first
    /// processor and the client on the last. Returns `None` if this process may use fewer
    /// processors.
    pub(crate) fn on(processors: usize) -> Option<Layout> {
        let ours = sched_getaffinity(Pid::from_raw(0)).ok()?;
        let cpus = (0..CpuSet::count()).filter(|cpu| ours.is_set(*cpu) == Ok(true));
        let cpus: Vec<usize> = cpus.take(processors).collect();
        let (first, last) = (*cpus.first()?, *cpus.last()?);
        (cpus.len() == processors).then(|| Layout { server: vec![first], client: vec![last] })
    }

    /// Returns the layout in words.
    pub(crate) fn describe(&self) -> String {
        if *self == Layout::default() {
            return "unpinned".to_owned();
        }
        let list = |cpus: &[usize]| cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        format!("server on CPU {}, client on CPU {}", list(&self.server), list(&self.client))
    }
}

/// The processors that a thread may use while it is not pinned.
#[derive(Clone, Copy, Debug)]
pub struct Home(CpuSet);

impl Home {
    /// Returns the processors of the calling thread.
    ///
    /// # Errors
    ///
    /// When sched_getaffinity(2) fails.
    pub fn of_this_thread() -> io::Result<Home> {
        Ok(Home(sched_getaffinity(Pid::from_raw(0))?))
    }

    /// Allows the calling thread to use these processors again. Threads and processes that the
    /// thread starts later inherit the processors.
    ///
    /// # Errors
    ///
    /// When sched_setaffinity(2) fails, e.g. because the processors are no longer available.
    pub fn restore(&self) -> io::Result<()> {
        Ok(sched_setaffinity(Pid::from_raw(0), &self.0)?)
    }
}

/// Pins the calling thread to `cpus`, runs `start`, and then restores the thread's processors. A
/// child process that `start` starts inherits `cpus`. With an empty `cpus`, the thread is not
/// pinned.
///
/// # Errors
///
/// When `start` fails, and when this process may not use the CPUs.
pub(crate) fn pinned<T>(cpus: &[usize], start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if cpus.is_empty() {
        return start();
    }
    let home = Home::of_this_thread()?;
    let mut wanted = CpuSet::new();
    for cpu in cpus {
        wanted.set(*cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &wanted)
        .map_err(|error| io::Error::other(format!("cannot pin to CPUs {cpus:?}: {error}")))?;
    let started = start();
    home.restore()?;
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_processor_is_shared_and_two_are_not() {
        let one = Layout::on(1).unwrap();
        assert_eq!(one.server, one.client);
        assert!(Layout::on(2).is_none_or(|two| two.server != two.client));
        assert_eq!(Layout::on(CpuSet::count() + 1), None);
    }

    #[test]
    fn a_layout_names_the_cpus_of_both_sides() {
        let lists = Layout { server: vec![0, 2], client: vec![1] };
        assert_eq!("0,2/1".parse(), Ok(lists.clone()));
        assert_eq!(lists.describe(), "server on CPU 0,2, client on CPU 1");
        assert_eq!("split".parse::<Layout>().unwrap().client, [1]);
        assert_eq!("none".parse::<Layout>().unwrap().describe(), "unpinned");
        assert!("0".parse::<Layout>().is_err() && "a/1".parse::<Layout>().is_err());
    }
}
