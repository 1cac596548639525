//! The table of escapes: each is refused in a fenced process, and most are seen to succeed where nothing is fenced.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags};
use tempfile::TempDir;

use crate::attempts::{self, Case, Place, Unfenced};
use crate::child::doing;

/// A place of one attempt, with all that there is to get at.
struct Scene {
    place: Place,
    folder: TempDir,
    _tcp: TcpListener,
    _udp: UdpSocket,
    _abstract: UnixListener,
    _named: UnixListener,
    _datagrams: UnixDatagram,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let (root, outside) = (path.join("root"), path.join("outside"));
        fs::create_dir_all(root.join("folder")).unwrap();
        fs::create_dir_all(outside.join("empty")).unwrap();
        fs::write(root.join("inside.txt"), "inside").unwrap();
        fs::write(outside.join("secret.txt"), "secret").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("door")).unwrap();
        let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let udp = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let socket = format!("operone-{}", path.file_name().unwrap().display());
        let address = SocketAddr::from_abstract_name(&socket).unwrap();
        let ports = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
        Self {
            _named: UnixListener::bind(outside.join("socket")).unwrap(),
            _datagrams: UnixDatagram::bind(outside.join("datagrams")).unwrap(),
            _abstract: UnixListener::bind_addr(&address).unwrap(),
            place: Place { root, outside, parent: std::process::id() as i32, ports, socket },
            folder,
            _tcp: tcp,
            _udp: udp,
        }
    }

    /// Makes the attempt: what it ended with, or the signal that ended it.
    fn attempt(&self, how: &str, case: &Case) -> Result<i32, String> {
        let mut command = doing(&format!("{how} {}", case.name));
        self.place.tell(&mut command);
        let (ended, end) = channel::<()>();
        let output = std::thread::scope(|scope| {
            if case.name.contains("race") {
                scope.spawn(move || self.swap(&end));
            }
            let output = command.output().unwrap();
            drop(ended);
            output
        });
        output.status.code().ok_or_else(|| format!("{:?}", output.status.signal()))
    }

    /// Swaps the door and the empty folder until the end.
    fn swap(&self, end: &Receiver<()>) {
        let (folder, door) = (self.place.root.join("folder"), self.place.root.join("door"));
        while end.recv_timeout(Duration::from_micros(100)) == Err(RecvTimeoutError::Timeout) {
            rustix::fs::renameat_with(CWD, &folder, CWD, &door, RenameFlags::EXCHANGE).unwrap();
        }
    }

    /// What is outside: names, contents, modes and owners.
    fn outside(&self) -> BTreeMap<PathBuf, (u64, u32, u32, String)> {
        let seen = fs::read_dir(&self.place.outside).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            let data = fs::symlink_metadata(&path).unwrap();
            let content = fs::read_to_string(&path).unwrap_or_default();
            (path, (data.len(), data.mode(), data.uid(), content))
        });
        seen.collect()
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn every_escape_is_refused() {
    let cases = attempts::all();
    assert!(cases.len() >= 100, "only {} escapes", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let scene = Scene::new();
        let before = scene.outside();
        match scene.attempt("confined", case) {
            // Refused by a fence, and not for an argument that is wrong. The new call of `clone` is said to be unknown.
            Ok(libc::EPERM | libc::EACCES | libc::EXDEV) => {}
            Ok(libc::ENOSYS) if case.name.ends_with("by the new call") => {}
            ended => wrong.push(format!("{}: {ended:?}", case.name)),
        }
        if scene.outside() != before {
            wrong.push(format!("{}: it changed what is outside", case.name));
        }
        assert!(scene.folder.path().join("root/inside.txt").exists(), "{}", case.name);
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases.len());
}

#[test]
fn the_escapes_are_real_where_nothing_is_fenced() {
    let root = is_root();
    let tried = |case: &Case| match case.unfenced {
        Unfenced::Succeeds => true,
        Unfenced::SucceedsForRoot => root,
        Unfenced::Untried => false,
    };
    let cases: Vec<Case> = attempts::all().into_iter().filter(tried).collect();
    assert!(cases.len() >= 50, "only {} escapes are seen to be real", cases.len());
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let ended = Scene::new().attempt("free", case);
            (ended != Ok(0)).then(|| format!("{}: {ended:?}", case.name))
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_fenced_process_can_do_its_work() {
    for case in attempts::needed() {
        assert_eq!(Scene::new().attempt("confined", &case), Ok(0), "{}", case.name);
    }
}

#[test]
fn a_process_that_may_only_read_does_not_write() {
    let names = [("read inside", 0), ("list inside", 0), ("write inside", libc::EACCES)];
    for (name, expected) in names {
        let case = attempts::needed().into_iter().find(|case| case.name == name).unwrap();
        assert_eq!(Scene::new().attempt("reading", &case), Ok(expected), "{name}");
    }
}

#[test]
fn a_process_without_files_opens_none() {
    for name in ["read inside", "list inside", "write inside"] {
        let case = attempts::needed().into_iter().find(|case| case.name == name).unwrap();
        assert_eq!(Scene::new().attempt("shut", &case), Ok(libc::EACCES), "{name}");
    }
}
