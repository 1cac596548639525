//! Limits that a process breaks: how it ends, and how much it gets.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Child;
use std::time::{Duration, Instant};

use operone_sandbox::{Exceeded, Files, Limits, Watchdog, Watched, allocation_failed, fence};

use crate::child::doing;

/// The memory of a process, and what it asks for.
const RAM: u64 = 64 << 20;
const TOO_MUCH: usize = 1 << 30;

/// In the process: breaks a limit.
pub(crate) fn break_one(name: &str) {
    match name {
        "allocate" => {
            Limits::default().with_ram(RAM).apply().unwrap();
            fence(&Files::None).unwrap();
            let held = vec![1_u8; TOO_MUCH];
            println!("{} bytes were had", held.len());
        }
        "allocate bit by bit" => {
            Limits::default().with_ram(RAM).apply().unwrap();
            fence(&Files::None).unwrap();
            let held: Vec<Vec<u8>> = (0..TOO_MUCH >> 20).map(|_| vec![1; 1 << 20]).collect();
            println!("{} MiB were had", held.len());
        }
        "share" => {
            Limits::default().with_ram(RAM).apply().unwrap();
            fence(&Files::None).unwrap();
            // SAFETY: new memory, within its length, for the rest of the process's life.
            unsafe {
                let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
                let write = libc::PROT_READ | libc::PROT_WRITE;
                let memory = libc::mmap(std::ptr::null_mut(), TOO_MUCH, write, shared, -1, 0);
                assert_ne!(memory, libc::MAP_FAILED);
                libc::memset(memory, 1, TOO_MUCH);
            }
            println!("the memory was had");
        }
        "hold" => {
            let held = vec![1_u8; TOO_MUCH / 4];
            std::thread::sleep(Duration::from_secs(20));
            println!("{} bytes were had", held.len());
        }
        _ => {
            let millicores = name.strip_prefix("spin ").unwrap().parse().unwrap();
            Limits::default().with_cpu(millicores).apply().unwrap();
            fence(&Files::None).unwrap();
            for _ in 0..4 {
                std::thread::spawn(|| {
                    loop {
                        std::hint::spin_loop();
                    }
                });
            }
            std::thread::sleep(Duration::from_secs(60));
        }
    }
}

fn started(task: &str, watchdog: &Watchdog, limits: Limits) -> (Watched, Child) {
    let child = doing(&format!("limit {task}")).process_group(0).spawn().unwrap();
    (watchdog.watch(child.id(), limits), child)
}

#[test]
fn memory_that_is_refused_ends_the_process_with_last_words() {
    for task in ["allocate", "allocate bit by bit"] {
        let begun = Instant::now();
        let (watched, child) = started(task, &Watchdog::default(), Limits::default().with_ram(RAM));
        let output = child.wait_with_output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{task}: after {:?}", begun.elapsed());
        let held = watched.exceeded();
        assert!(held.is_some() || allocation_failed(&output.stderr), "{task}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("had"), "{output:?}");
    }
}

#[test]
fn shared_memory_counts_and_is_seen_by_the_watchdog() {
    let begun = Instant::now();
    let (watched, child) = started("share", &Watchdog::default(), Limits::default().with_ram(RAM));
    let output = child.wait_with_output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "after {:?}", begun.elapsed());
    assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{output:?}");
    let Some(Exceeded { limit: RAM, used: Some(used), .. }) = watched.exceeded() else {
        panic!("{:?}", watched.exceeded())
    };
    assert!(used > RAM, "{used}");
}

#[test]
fn a_whole_group_is_counted_where_processes_can_be_started() {
    // Without a fence: the shell stays small, what it starts does not.
    let holder = doing("limit hold");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "\"$0\" \"$@\"; exit 3"]).arg(holder.get_program()).args(holder.get_args());
    command.envs(holder.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.process_group(0).stdout(std::process::Stdio::null()).spawn().unwrap();
    let watchdog = Watchdog::default().with_whole_groups();
    let watched = watchdog.watch(child.id(), Limits::default().with_ram(RAM));
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert!(watched.exceeded().is_some());
}

/// The cores that four spinning threads got over some seconds.
fn cores(millicores: u32) -> f64 {
    let watchdog = Watchdog::default();
    let limits = Limits::default().with_cpu(millicores);
    let (watched, mut child) = started(&format!("spin {millicores}"), &watchdog, limits);
    // The process begins before its limits do.
    std::thread::sleep(Duration::from_millis(500));
    let (begun, before) = (Instant::now(), ticks(child.id()));
    std::thread::sleep(Duration::from_secs(4));
    let used = (ticks(child.id()) - before) as f64 / rustix::param::clock_ticks_per_second() as f64;
    let cores = used / begun.elapsed().as_secs_f64();
    drop(watched);
    child.kill().unwrap();
    child.wait().unwrap();
    cores
}

fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn four_threads_get_no_more_than_the_limit() {
    let whole = cores(1000);
    assert!((0.05..1.1).contains(&whole), "{whole} cores");
    let half = cores(500);
    assert!((0.05..0.6).contains(&half), "{half} cores");
}

#[test]
fn a_process_goes_on_when_it_is_no_longer_watched() {
    let (watched, mut child) = started("spin 10", &Watchdog::default(), Limits::default().with_cpu(10));
    let state = |pid| {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().rsplit_once(')').unwrap().1[1..2]
            .to_owned()
    };
    let begun = Instant::now();
    while state(child.id()) != "T" {
        assert!(begun.elapsed() < Duration::from_secs(10), "it is never stopped");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(watched);
    std::thread::sleep(Duration::from_millis(50));
    assert_ne!(state(child.id()), "T");
    child.kill().unwrap();
    child.wait().unwrap();
}
