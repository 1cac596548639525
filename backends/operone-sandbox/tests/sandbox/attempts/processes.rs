//! Attempts on other processes, on programs, and on what limits this one.

use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::Unfenced::{Succeeds, SucceedsForRoot, Untried};
use super::{Case, Place, call, call_with, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("read the parent's memory", Succeeds, |place| {
            File::open(format!("/proc/{}/mem", place.parent)).map(drop)
        }),
        case("read the parent's memory map", Succeeds, |place| {
            fs::read(format!("/proc/{}/maps", place.parent)).map(drop)
        }),
        case("read the parent's environment", Succeeds, |place| {
            fs::read(format!("/proc/{}/environ", place.parent)).map(drop)
        }),
        case("list the parent's open files", Succeeds, |place| {
            fs::read_dir(format!("/proc/{}/fd", place.parent)).map(drop)
        }),
        case("open a file by the parent's root", Succeeds, |place| {
            File::open(format!("/proc/{}/root/etc/passwd", place.parent)).map(drop)
        }),
        case("copy the parent's memory", Untried, |place| {
            call_with(libc::SYS_process_vm_readv, &[place.parent as usize, 0, 0, 0, 0])
        }),
        case("write the parent's memory", Untried, |place| {
            call_with(libc::SYS_process_vm_writev, &[place.parent as usize, 0, 0, 0, 0])
        }),
        case("trace the parent", Untried, |place| {
            call_with(libc::SYS_ptrace, &[libc::PTRACE_SEIZE as usize, place.parent as usize])
        }),
        // Unfenced, its parent would have to wait for each of its threads.
        case("be traced", Untried, |_| call_with(libc::SYS_ptrace, &[libc::PTRACE_TRACEME as usize])),
        case("signal the parent", Succeeds, |place| {
            Ok(rustix::process::test_kill_process(Pid::from_raw(place.parent).unwrap())?)
        }),
        case("signal a thread of the parent", Succeeds, |place| {
            call_with(libc::SYS_tgkill, &[place.parent as usize, place.parent as usize, 0])
        }),
        case("signal by thread number", Succeeds, |place| {
            call_with(libc::SYS_tkill, &[place.parent as usize, 0])
        }),
        case("signal every process", Untried, |_| call_with(libc::SYS_kill, &[usize::MAX, 0])),
        case("signal its process group", Succeeds, |_| {
            Ok(rustix::process::test_kill_current_process_group()?)
        }),
        case("queue a signal for the parent", Untried, |place| {
            call_with(libc::SYS_rt_sigqueueinfo, &[place.parent as usize, 0, 0])
        }),
        case("hold the parent by a descriptor", Succeeds, |place| {
            call_with(libc::SYS_pidfd_open, &[place.parent as usize, 0])
        }),
        case("take a descriptor of the parent", Untried, |_| call_with(libc::SYS_pidfd_getfd, &[0, 0, 0])),
        case("have the kernel signal the parent", Succeeds, |place| {
            let (ours, _theirs) = UnixStream::pair()?;
            let socket = std::os::fd::AsRawFd::as_raw_fd(&ours) as usize;
            call_with(libc::SYS_fcntl, &[socket, libc::F_SETOWN as usize, place.parent as usize])
        }),
        case("fork", Succeeds, fork),
        #[cfg(target_arch = "x86_64")]
        case("fork by the old call", Untried, |_| match call(libc::SYS_fork, [0; 6])? {
            0 => std::process::exit(0),
            _ => Ok(()),
        }),
        #[cfg(target_arch = "x86_64")]
        case("vfork", Untried, |_| match call(libc::SYS_vfork, [0; 6])? {
            0 => std::process::exit(0),
            _ => Ok(()),
        }),
        case("clone a process", Untried, |_| {
            match call(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0, 0, 0, 0])? {
                0 => std::process::exit(0),
                _ => Ok(()),
            }
        }),
        case("clone a process by the new call", Untried, |_| {
            let arguments = [0_u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
            match call(libc::SYS_clone3, [arguments.as_ptr() as usize, 64, 0, 0, 0, 0])? {
                0 => std::process::exit(0),
                _ => Ok(()),
            }
        }),
        case("start a program", Succeeds, |_| Command::new("/bin/true").status().map(drop)),
        case("become a program", Succeeds, |_| become_program(c"/bin/true")),
        case("become the own program", Untried, |_| become_program(c"/proc/self/exe")),
        case("make a file in memory", Succeeds, |_| memory_file().map(drop)),
        case("become a program in memory", Succeeds, |_| {
            let program = memory_file()?;
            let mut file = File::options().write(true).open(format!("/proc/self/fd/{program}"))?;
            io::copy(&mut File::open("/bin/true")?, &mut file)?;
            drop(file);
            let (arguments, none) = ([c"true".as_ptr(), std::ptr::null()], [std::ptr::null::<u8>()]);
            call_with(
                libc::SYS_execveat,
                &[
                    program,
                    c"".as_ptr() as usize,
                    arguments.as_ptr() as usize,
                    none.as_ptr() as usize,
                    libc::AT_EMPTY_PATH as usize,
                ],
            )
        }),
        case("share memory by number", Succeeds, |_| {
            let id = call(libc::SYS_shmget, [libc::IPC_PRIVATE as usize, 4096, 0o600, 0, 0, 0])?;
            call_with(libc::SYS_shmctl, &[id, libc::IPC_RMID as usize, 0])
        }),
        case("make a queue of messages", Untried, |_| call_with(libc::SYS_msgget, &[0, 0o1600])),
        case("set a limit", Succeeds, |_| {
            let limit = rustix::process::getrlimit(Resource::Nofile);
            Ok(rustix::process::setrlimit(Resource::Nofile, limit)?)
        }),
        case("raise a limit", Untried, |_| {
            let limit = rustix::process::getrlimit(Resource::Nofile).maximum.map(|limit| limit + 1);
            Ok(rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?)
        }),
        case("lower the parent's limits", Untried, |place| {
            let limit = Rlimit { current: Some(0), maximum: Some(0) };
            Ok(rustix::process::prlimit(Pid::from_raw(place.parent), Resource::Core, limit).map(drop)?)
        }),
        case("choose other cores", Succeeds, |_| {
            let cores = rustix::thread::sched_getaffinity(None)?;
            Ok(rustix::thread::sched_setaffinity(None, &cores)?)
        }),
        case("run before all others", SucceedsForRoot, |_| {
            call_with(libc::SYS_setpriority, &[libc::PRIO_PROCESS as usize, 0, (-5_isize) as usize])
        }),
        case("leave the process group", Untried, |_| call_with(libc::SYS_setpgid, &[0, 0])),
        case("leave the session", Untried, |_| call_with(libc::SYS_setsid, &[])),
        case("let others read its memory", Succeeds, |_| {
            call_with(libc::SYS_prctl, &[libc::PR_SET_DUMPABLE as usize, 1])
        }),
        case("outlive the parent", Succeeds, |_| {
            call_with(libc::SYS_prctl, &[libc::PR_SET_PDEATHSIG as usize, 0])
        }),
        case("let others trace it", Untried, |_| {
            call_with(libc::SYS_prctl, &[libc::PR_SET_PTRACER as usize, usize::MAX])
        }),
        case("become another user", SucceedsForRoot, |_| call_with(libc::SYS_setuid, &[1])),
        case("become another group", SucceedsForRoot, |_| call_with(libc::SYS_setgid, &[1])),
        case("set its capabilities", Untried, |_| call_with(libc::SYS_capset, &[0, 0])),
        #[cfg(target_arch = "x86_64")]
        case("fork by the x32 interface", Untried, |_| call_with(libc::SYS_fork | 0x4000_0000, &[])),
        #[cfg(target_arch = "x86_64")]
        case("open a socket by the x32 interface", Untried, |_| {
            call_with(
                libc::SYS_socket | 0x4000_0000,
                &[libc::AF_INET as usize, libc::SOCK_STREAM as usize, 0],
            )
        }),
    ]
}

pub(super) fn needed() -> Vec<Case> {
    vec![
        case("start a thread", Succeeds, |_| {
            std::thread::Builder::new().spawn(|| ())?.join().map_err(|_| io::Error::other("it panicked"))
        }),
        case("talk by a stream pair", Succeeds, |_| {
            use io::{Read, Write};
            let (mut ours, mut theirs) = UnixStream::pair()?;
            ours.write_all(b"x")?;
            theirs.read_exact(&mut [0])
        }),
        case("signal itself", Succeeds, |_| {
            Ok(rustix::process::test_kill_process(rustix::process::getpid())?)
        }),
        case("hold memory", Succeeds, |_| {
            let held = vec![1_u8; 16 << 20];
            if held.iter().all(|byte| *byte == 1) { Ok(()) } else { Err(io::Error::other("it forgets")) }
        }),
        case("handle a signal", Succeeds, |_| {
            // A signal that is ignored from the beginning: the call must not be refused.
            Ok(rustix::process::kill_process(rustix::process::getpid(), Signal::WINCH)?)
        }),
    ]
}

fn fork(_: &Place) -> io::Result<()> {
    // SAFETY: the child ends at once.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: ends the child without running what the parent registered.
        0 => unsafe { libc::_exit(0) },
        _ => Ok(()),
    }
}

fn become_program(path: &std::ffi::CStr) -> io::Result<()> {
    let (arguments, none) = ([path.as_ptr(), std::ptr::null()], [std::ptr::null::<u8>()]);
    call_with(
        libc::SYS_execve,
        &[path.as_ptr() as usize, arguments.as_ptr() as usize, none.as_ptr() as usize],
    )
}

fn memory_file() -> io::Result<usize> {
    call(libc::SYS_memfd_create, [c"program".as_ptr() as usize, 0, 0, 0, 0, 0])
}
