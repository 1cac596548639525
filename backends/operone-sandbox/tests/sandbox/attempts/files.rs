//! Attempts on files outside the root.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Mode, RenameFlags, Timespec, Timestamps, XattrFlags};

use super::Unfenced::{Succeeds, SucceedsForRoot, Untried};
use super::{Case, Place, call, call_with, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("read a file outside", Succeeds, |place| read(place.outside.join("secret.txt"))),
        case("read by dot-dot", Succeeds, |place| read(place.root.join("../outside/secret.txt"))),
        case("read by a symbolic link inside", Succeeds, |place| read(place.root.join("door/secret.txt"))),
        case("win a race between a folder and a link", Succeeds, race),
        case("list a folder outside", Succeeds, |place| fs::read_dir(&place.outside).map(drop)),
        case("list the root of the machine", Succeeds, |_| fs::read_dir("/").map(drop)),
        case("read the list of users", Succeeds, |_| read("/etc/passwd")),
        case("read by the root link of the process", Succeeds, |place| {
            read(
                Path::new("/proc/self/root")
                    .join(place.outside.strip_prefix("/").unwrap())
                    .join("secret.txt"),
            )
        }),
        case("read by the folder link of the process", Succeeds, |_| read("/proc/self/cwd/Cargo.toml")),
        case("read the program by its link", Succeeds, |_| read("/proc/self/exe")),
        case("read own environment again", Succeeds, |_| read("/proc/self/environ")),
        case("write a file outside", Succeeds, |place| {
            fs::write(place.outside.join("secret.txt"), "changed")
        }),
        case("append to a file outside", Succeeds, |place| {
            OpenOptions::new().append(true).open(place.outside.join("secret.txt")).map(drop)
        }),
        case("write by a symbolic link inside", Succeeds, |place| {
            fs::write(place.root.join("door/new.txt"), "new")
        }),
        case("make a file outside", Succeeds, |place| {
            File::create_new(place.outside.join("new.txt")).map(drop)
        }),
        case("make an unnamed file outside", Succeeds, |place| {
            let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
            Ok(rustix::fs::open(&place.outside, flags, Mode::RUSR).map(drop)?)
        }),
        case("make a folder outside", Succeeds, |place| fs::create_dir(place.outside.join("new"))),
        case("remove a file outside", Succeeds, |place| fs::remove_file(place.outside.join("secret.txt"))),
        case("remove a folder outside", Succeeds, |place| fs::remove_dir(place.outside.join("empty"))),
        case("rename a file outside", Succeeds, |place| {
            fs::rename(place.outside.join("secret.txt"), place.outside.join("other.txt"))
        }),
        case("rename a file in", Succeeds, |place| {
            fs::rename(place.outside.join("secret.txt"), place.root.join("stolen.txt"))
        }),
        case("rename a file out", Succeeds, |place| {
            fs::rename(place.root.join("inside.txt"), place.outside.join("dropped.txt"))
        }),
        case("exchange a file with one outside", Succeeds, |place| {
            let (inside, outside) = (place.root.join("inside.txt"), place.outside.join("secret.txt"));
            Ok(rustix::fs::renameat_with(CWD, inside, CWD, outside, RenameFlags::EXCHANGE)?)
        }),
        case("link a file outside into the root", Succeeds, |place| {
            fs::hard_link(place.outside.join("secret.txt"), place.root.join("stolen.txt"))
        }),
        case("link a file of the root to the outside", Succeeds, |place| {
            fs::hard_link(place.root.join("inside.txt"), place.outside.join("dropped.txt"))
        }),
        case("make a symbolic link", Succeeds, |place| {
            std::os::unix::fs::symlink("/etc/passwd", place.root.join("link.txt"))
        }),
        case("shorten a file outside", Succeeds, |place| {
            let path = name(place.outside.join("secret.txt"));
            call_with(libc::SYS_truncate, &[path.as_ptr() as usize, 0])
        }),
        case("change the mode of a file outside", Succeeds, |place| {
            fs::set_permissions(place.outside.join("secret.txt"), fs::Permissions::from_mode(0o777))
        }),
        case("change the owner of a file outside", SucceedsForRoot, |place| {
            std::os::unix::fs::chown(place.outside.join("secret.txt"), Some(1), Some(1))
        }),
        case("change the times of a file outside", Succeeds, |place| {
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let times = Timestamps { last_access: zero, last_modification: zero };
            Ok(rustix::fs::utimensat(CWD, place.outside.join("secret.txt"), &times, AtFlags::empty())?)
        }),
        case("label a file outside", Untried, |place| {
            let path = place.outside.join("secret.txt");
            Ok(rustix::fs::setxattr(path, "user.operone", b"1", XattrFlags::empty())?)
        }),
        case("make a device", SucceedsForRoot, |place| {
            let device = rustix::fs::makedev(1, 1);
            Ok(rustix::fs::mknodat(
                CWD,
                place.root.join("mem"),
                FileType::CharacterDevice,
                Mode::RUSR,
                device,
            )?)
        }),
        case("make a pipe with a name", Succeeds, |place| {
            Ok(rustix::fs::mknodat(CWD, place.root.join("pipe"), FileType::Fifo, Mode::RUSR, 0)?)
        }),
        case("open a device", Succeeds, |_| {
            assert!(fs::metadata("/dev/null").is_ok_and(|file| file.file_type().is_char_device()));
            File::open("/dev/null").map(drop)
        }),
        case("open its memory as a file", Succeeds, |_| File::open("/proc/self/mem").map(drop)),
        case("list its open files", Succeeds, |_| fs::read_dir("/proc/self/fd").map(drop)),
        case("list the processes", Succeeds, |_| fs::read_dir("/proc").map(drop)),
        case("write into shared memory", Succeeds, |place| {
            let path = Path::new("/dev/shm").join(&place.socket);
            let made = File::create_new(&path).map(drop);
            let _ = fs::remove_file(path);
            made
        }),
        case("change a setting of the kernel", SucceedsForRoot, |_| {
            OpenOptions::new().write(true).open("/proc/sys/kernel/core_pattern").map(drop)
        }),
        case("watch a folder outside", Succeeds, |place| {
            let watcher = call(libc::SYS_inotify_init1, [0; 6])?;
            let path = name(&place.outside);
            call_with(
                libc::SYS_inotify_add_watch,
                &[watcher, path.as_ptr() as usize, libc::IN_CREATE as usize],
            )
        }),
        case("watch a whole mount", Untried, |_| call_with(libc::SYS_fanotify_init, &[0, 0])),
        case("open a file by its handle", SucceedsForRoot, by_handle),
    ]
}

pub(super) fn needed() -> Vec<Case> {
    vec![
        case("read inside", Succeeds, |place| read(place.root.join("inside.txt"))),
        case("list inside", Succeeds, |place| fs::read_dir(&place.root).map(drop)),
        case("write inside", Succeeds, |place| {
            let folder = place.root.join("a/b");
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("c.txt"), "1")?;
            fs::rename(folder.join("c.txt"), place.root.join("a/d.txt"))?;
            fs::remove_file(place.root.join("a/d.txt"))?;
            fs::remove_dir(folder)
        }),
    ]
}

fn read(path: impl AsRef<Path>) -> io::Result<()> {
    File::open(path)?.read(&mut [0; 16]).map(drop)
}

fn name(path: impl AsRef<Path>) -> CString {
    CString::new(path.as_ref().as_os_str().as_encoded_bytes()).unwrap()
}

/// Opens a path again and again while someone makes its first part now an own folder, now a link out.
fn race(place: &Place) -> io::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        match read(place.root.join("folder/secret.txt")) {
            // The own folder was there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            won_or_refused => return won_or_refused,
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn by_handle(place: &Place) -> io::Result<()> {
    // struct file_handle: the size of what follows, its kind, the handle.
    let mut handle = [0_u32; 34];
    handle[0] = 128;
    let (path, folder, mut mount) = (name(place.outside.join("secret.txt")), File::open(&place.root)?, 0_i32);
    call(
        libc::SYS_name_to_handle_at,
        [
            libc::AT_FDCWD as usize,
            path.as_ptr() as usize,
            handle.as_mut_ptr() as usize,
            (&raw mut mount) as usize,
            0,
            0,
        ],
    )?;
    let folder = std::os::fd::AsRawFd::as_raw_fd(&folder) as usize;
    call_with(libc::SYS_open_by_handle_at, &[folder, handle.as_mut_ptr() as usize, libc::O_RDONLY as usize])
}
