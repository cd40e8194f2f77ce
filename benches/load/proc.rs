//! What the kernel knows of a server: its processes, their CPU time and memory.

use std::fs;
use std::time::Duration;

/// A process and its living descendants.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut at = 0;
    while let Some(parent) = pids.get(at).copied() {
        at += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    pids
}

/// CPU time of a process, its living descendants, and those that have ended and were waited for.
pub fn cpu(pid: u32) -> Duration {
    let ticks: u64 = tree(pid)
        .into_iter()
        .filter_map(|process| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            let fields = stat.rsplit_once(')')?.1;
            // utime, stime, cutime, cstime
            Some(fields.split_whitespace().skip(11).take(4).filter_map(|f| f.parse::<u64>().ok()).sum::<u64>())
        })
        .sum();
    // The kernel shows hundredths of a second on every architecture that this runs on (USER_HZ).
    Duration::from_millis(ticks * 10)
}

/// CPU time of one process that starts no others, to the nanosecond: of the threads that live now.
/// Threads that end in between take theirs along, so it is only for spans in which none does.
pub fn cpu_of_threads(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let nanoseconds: u64 = threads
        .flatten()
        .filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum();
    Duration::from_nanos(nanoseconds)
}

/// Memory of a process and its descendants in KiB, what they share counted once (PSS).
pub fn pss(pid: u32) -> u64 {
    tree(pid).into_iter().map(|process| field(&format!("/proc/{process}/smaps_rollup"), "Pss:")).sum()
}

/// The most memory that a process has had, in KiB.
pub fn peak(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "VmHWM:")
}

fn field(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Bytes that a process has written to files so far.
pub fn written(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/io"), "wchar:")
}
