//! Control groups (version 2), where a part of their tree was delegated to this process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::Limits;

/// The group into which this process moves itself: one that has groups below it may hold no process.
const OWN: &str = "operone-server";
/// The controllers without which a group limits too little.
const NEEDED: [&str; 2] = ["cpu", "memory"];
/// The period of `cpu.max`, in microseconds.
const PERIOD: u64 = 100_000;
/// The processes and threads of one group.
const MOST_TASKS: u32 = 64;

/// The part of the tree in which groups are made. Clones share it.
#[derive(Clone, Debug)]
pub struct Cgroups {
    base: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// Groups that still held a process when they were to be removed.
    left: Vec<PathBuf>,
}

/// The group of one process; its processes are killed and it is removed when this is dropped.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    groups: Cgroups,
}

impl Cgroups {
    /// Takes over the group in which this process is, if it is alone in it and may write there: moves itself into a
    /// group `operone-server` below it and switches the controllers on for others beside that. What prevents it is
    /// the error, in words; then nothing has changed.
    pub fn delegated() -> Result<Self, String> {
        let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        let mounts = read("/proc/self/mountinfo")?;
        let mount = mount_point(&mounts).ok_or("no control groups of version 2 are mounted")?;
        let groups = read("/proc/self/cgroup")?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
        let own = own.ok_or("this process is in no control group of version 2")?;
        Self::take_over(&mount.join(own.trim_start_matches('/')), std::process::id())
    }

    fn take_over(base: &Path, pid: u32) -> Result<Self, String> {
        let read = |name: &str| {
            fs::read_to_string(base.join(name)).map_err(|error| format!("{name} cannot be read: {error}"))
        };
        let controllers = read("cgroup.controllers")?;
        let offered: Vec<&str> = controllers.split_whitespace().collect();
        if let Some(missing) = NEEDED.iter().find(|needed| !offered.contains(needed)) {
            return Err(format!("the control group of this process has no controller '{missing}'"));
        }
        let pid = pid.to_string();
        if read("cgroup.procs")?.lines().any(|other| other != pid) {
            return Err("the control group of this process holds others too: it was not delegated".to_owned());
        }
        let own = base.join(OWN);
        let made = match fs::create_dir(&own) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(format!("no control group can be made: {error}")),
        };
        let pids = if offered.contains(&"pids") { " +pids" } else { "" };
        let taken = fs::write(own.join("cgroup.procs"), &pid)
            .and_then(|()| fs::write(base.join("cgroup.subtree_control"), format!("+cpu +memory{pids}")));
        if let Err(error) = taken {
            // Back to where it was: a group half taken over would be in the way of whoever started this process.
            let _ = fs::write(base.join("cgroup.procs"), &pid);
            if made {
                let _ = fs::remove_dir(&own);
            }
            return Err(format!("the controllers cannot be switched on: {error}"));
        }
        Ok(Self { base: base.to_owned(), state: Arc::default() })
    }

    /// Makes a group with these limits and puts a process into it.
    pub fn hold(&self, pid: u32, limits: Limits) -> io::Result<Cgroup> {
        let path = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.left.retain(|path| !is_removed(path));
            state.last += 1;
            self.base.join(format!("operone-worker-{}-{}", std::process::id(), state.last))
        };
        fs::create_dir(&path)?;
        let group = Cgroup { path, groups: self.clone() };
        if let Some(ram) = limits.ram {
            group.set("memory.max", ram.to_string())?;
            group.set("memory.oom.group", "1")?;
            // Kernels that do not count swap have no such file, and nothing to forbid.
            match group.set("memory.swap.max", "0") {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        if let Some(cpu) = limits.cpu {
            group.set("cpu.max", format!("{} {PERIOD}", u64::from(cpu) * PERIOD / 1000))?;
        }
        match group.set("pids.max", MOST_TASKS.to_string()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        group.set("cgroup.procs", pid.to_string())?;
        Ok(group)
    }
}

impl Cgroup {
    /// Whether the kernel has killed for memory here.
    pub fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        killed.is_some_and(|count| count.trim() != "0")
    }

    fn set(&self, name: &str, value: impl AsRef<[u8]>) -> io::Result<()> {
        fs::write(self.path.join(name), value)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Older kernels lack the file; whoever holds the group ends its process as well.
        let _ = self.set("cgroup.kill", "1");
        if !is_removed(&self.path) {
            let mut state = self.groups.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.left.push(self.path.clone());
        }
    }
}

/// Removes a group; true if it is gone.
fn is_removed(path: &Path) -> bool {
    fs::remove_dir(path).map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
}

/// Where the tree is mounted whole: fields 4 and 5 of a line are the part that is mounted and the place.
fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let place = before.split(' ').nth(4)?;
        (after.split(' ').next()? == "cgroup2").then(|| PathBuf::from(place))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    /// A folder that looks like a group with these controllers and processes.
    fn tree(controllers: &str, processes: &str) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("cgroup.controllers"), controllers).unwrap();
        fs::write(tree.path().join("cgroup.procs"), processes).unwrap();
        tree
    }

    fn content(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_delegated_group_is_taken_over() {
        let tree = tree("cpuset cpu io memory pids\n", "42\n");
        Cgroups::take_over(tree.path(), 42).unwrap();
        assert_eq!(content(tree.path().join("operone-server/cgroup.procs")), "42");
        assert_eq!(content(tree.path().join("cgroup.subtree_control")), "+cpu +memory +pids");
    }

    #[test]
    fn a_group_that_is_not_ours_alone_is_left_as_it_is() {
        for (controllers, processes, why) in
            [("cpu pids", "42", "memory"), ("", "42", "cpu"), ("cpu memory", "42\n43", "others")]
        {
            let tree = tree(controllers, processes);
            let error = Cgroups::take_over(tree.path(), 42).unwrap_err();
            assert!(error.contains(why), "{error}");
            assert!(
                !tree.path().join("operone-server").exists()
                    && !tree.path().join("cgroup.subtree_control").exists()
            );
        }
    }

    #[test]
    fn a_group_that_cannot_be_switched_on_is_given_back() {
        let tree = tree("cpu memory", "42");
        // A folder where the file would be: writing fails.
        fs::create_dir(tree.path().join("cgroup.subtree_control")).unwrap();
        let error = Cgroups::take_over(tree.path(), 42).unwrap_err();
        assert!(error.contains("switched on"), "{error}");
        assert_eq!(content(tree.path().join("cgroup.procs")), "42");
    }

    #[test]
    fn a_process_gets_a_group_with_its_limits() {
        let tree = tree("cpu memory pids", "");
        let groups = Cgroups::take_over(tree.path(), 42).unwrap();
        let group = groups.hold(77, Limits::default().with_ram(64 << 20).with_cpu(500)).unwrap();
        let file = |name: &str| content(group.path.join(name));
        assert_eq!(file("cgroup.procs"), "77");
        assert_eq!((file("memory.max"), file("memory.swap.max")), ("67108864".into(), "0".into()));
        assert_eq!((file("cpu.max"), file("pids.max")), ("50000 100000".into(), "64".into()));
        assert_eq!(file("memory.oom.group"), "1");
        assert!(group.path.starts_with(tree.path()));
    }

    #[test]
    fn a_limit_that_is_not_asked_for_is_not_set() {
        let tree = tree("cpu memory", "");
        let group = Cgroups::take_over(tree.path(), 42).unwrap().hold(77, Limits::default()).unwrap();
        assert!(!group.path.join("memory.max").exists() && !group.path.join("cpu.max").exists());
    }

    #[test]
    fn a_kill_for_memory_is_seen() {
        let tree = tree("cpu memory", "");
        let group = Cgroups::take_over(tree.path(), 42).unwrap().hold(77, Limits::default()).unwrap();
        assert!(!group.ran_out_of_memory());
        group.set("memory.events", "low 0\noom 1\noom_kill 0\n").unwrap();
        assert!(!group.ran_out_of_memory());
        group.set("memory.events", "low 0\noom 1\noom_kill 1\n").unwrap();
        assert!(group.ran_out_of_memory());
    }

    #[test]
    fn a_group_goes_when_its_last_process_has_gone() {
        let tree = tree("cpu memory", "");
        let groups = Cgroups::take_over(tree.path(), 42).unwrap();
        let group = groups.hold(77, Limits::default()).unwrap();
        let path = group.path.clone();
        // Files keep a plain folder from being removed, as processes do a group.
        drop(group);
        assert_eq!(content(path.join("cgroup.kill")), "1");
        assert!(path.exists());
        for entry in fs::read_dir(&path).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let _next = groups.hold(78, Limits::default()).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn the_mount_is_found_beside_those_of_version_1() {
        let mounts = "31 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      32 31 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      33 31 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("24 1 0:1 / / rw - ext4 /dev/sda rw"), None);
    }
}
