//! What the kernel tells of a process under `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// The memory of a process that is its own or shared with others but backed by no file, in bytes; what is swapped out
/// counts too. Any user may read it.
pub(crate) fn memory(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(memory_in(&status))
}

/// Processor time that a process and its threads have used, also those that have ended.
pub(crate) fn processor_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks: u64 = [UTIME, STIME].iter().filter_map(|field| field_of(&stat, *field)).sum();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_millis(ticks * 1000 / per_second))
}

/// The state letter of a process, `T` for one that is stopped.
pub(crate) fn state(pid: u32) -> io::Result<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(fields(&stat).next().and_then(|state| state.chars().next()).unwrap_or('?'))
}

/// The processes of each process group.
pub(crate) fn groups() -> io::Result<BTreeMap<u32, Vec<u32>>> {
    let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while this reads.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some(group) = field_of(&stat, PGRP) {
            groups.entry(group as u32).or_default().push(pid);
        }
    }
    Ok(groups)
}

/// Fields after the program's name, counted from the state.
const PGRP: usize = 2;
const UTIME: usize = 11;
const STIME: usize = 12;

/// The name in front stands in parentheses and may hold anything, also a parenthesis.
fn fields(stat: &str) -> std::str::SplitWhitespace<'_> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
}

fn field_of(stat: &str, index: usize) -> Option<u64> {
    fields(stat).nth(index)?.parse().ok()
}

fn memory_in(status: &str) -> u64 {
    let kilobytes = |line: &str| {
        let (name, value) = line.split_once(':')?;
        if !["RssAnon", "RssShmem", "VmSwap"].contains(&name) {
            return None;
        }
        value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    status.lines().filter_map(kilobytes).sum::<u64>() * 1024
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_shifts_no_field() {
        let stat = "7 (a) b (c)) S 1 5 5 0 -1 4194560 1 2 3 4 250 50 0 0";
        assert_eq!(field_of(stat, PGRP), Some(5));
        assert_eq!((field_of(stat, UTIME), field_of(stat, STIME)), (Some(250), Some(50)));
    }

    #[test]
    fn files_in_memory_are_not_the_process_s_own() {
        let status =
            "VmData:\t900 kB\nRssAnon:\t 10 kB\nRssFile:\t 50 kB\nRssShmem:\t 5 kB\nVmSwap:\t 1 kB\n";
        assert_eq!(memory_in(status), 16 * 1024);
    }

    #[test]
    fn this_process_is_seen() {
        let pid = std::process::id();
        let before = memory(pid).unwrap();
        let held = vec![1_u8; 32 << 20];
        assert!(memory(pid).unwrap() >= before + (24 << 20), "{} bytes are not seen", held.len());
        assert!(groups().unwrap().values().any(|group| group.contains(&pid)));
        assert!(matches!(state(pid).unwrap(), 'R' | 'S'));
    }
}
