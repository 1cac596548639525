//! Seccomp: the system calls that a process may not make.
//!
//! What is refused fails with `EPERM`; nothing is killed. The list names what leads out of the process or changes the
//! machine, not what is allowed: allocator, threads, timers and files below the root need no entry and keep working
//! with every C library.

use std::collections::BTreeMap;
use std::io;

use rustix::thread::SecureComputingMode;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Never needed by a fenced process, whatever the arguments.
const REFUSED: &[i64] = &[
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // The network, and sockets of other processes. A stream pair and what is open already are enough.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // A second way to most calls, past this filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_setpgid,
    libc::SYS_setsid,
    // Memory that the limit on private memory does not count, or that others share.
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_msgget,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // Limits, priorities and cores.
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_set_mempolicy,
    // Users and rights.
    libc::SYS_capset,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_setuid,
    libc::SYS_personality,
    // What names a file by path and Landlock does not look at, in some version or in all.
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_fchown,
    libc::SYS_mknodat,
    libc::SYS_truncate,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    // Mounts and name spaces.
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_setns,
    libc::SYS_unshare,
    // The machine.
    libc::SYS_acct,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    // Parts of the kernel with a history of faults.
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_perf_event_open,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    // Numbers that the C library's list lacks on some architecture; they are the same on all.
    FCHMODAT2,
    SET_MEMPOLICY_HOME_NODE,
    SETXATTRAT,
    REMOVEXATTRAT,
    OPEN_TREE_ATTR,
    FILE_SETATTR,
];

const SET_MEMPOLICY_HOME_NODE: i64 = 450;
const FCHMODAT2: i64 = 452;
const SETXATTRAT: i64 = 463;
const REMOVEXATTRAT: i64 = 466;
const OPEN_TREE_ATTR: i64 = 467;
const FILE_SETATTR: i64 = 469;

/// Older calls of this architecture that do what is refused above.
#[cfg(target_arch = "x86_64")]
const REFUSED_OLDER: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_setrlimit,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_mknod,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_inotify_init,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_sysfs,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS__sysctl,
];
#[cfg(target_arch = "aarch64")]
const REFUSED_OLDER: &[i64] = &[
    // setrlimit
    164,
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const REFUSED_OLDER: &[i64] = &[];

/// The calls of the x32 interface, which the kernel takes from every 64-bit program where it has them at all: the
/// common ones under this bit, and these of its own.
#[cfg(target_arch = "x86_64")]
const X32_BIT: i64 = 0x4000_0000;
#[cfg(target_arch = "x86_64")]
const X32_OWN: std::ops::RangeInclusive<i64> = 512..=547;

/// `prctl` options that undo what was set: the tie to the parent, dumpability, the memory map, who may trace.
const PRCTL_REFUSED: [libc::c_int; 5] = [
    libc::PR_SET_PDEATHSIG,
    libc::PR_SET_DUMPABLE,
    libc::PR_SET_MM,
    libc::PR_SET_PTRACER,
    libc::PR_SET_CHILD_SUBREAPER,
];

/// `fcntl` commands that make the kernel send signals to others, or hold up others' access to a file.
const FCNTL_REFUSED: [libc::c_int; 5] =
    [libc::F_SETOWN, F_SETSIG, F_SETOWN_EX, libc::F_SETLEASE, libc::F_NOTIFY];
const F_SETSIG: libc::c_int = 10;
const F_SETOWN_EX: libc::c_int = 15;

/// `ioctl` requests that type into a terminal, take it over, or make the kernel send signals to others.
const IOCTL_REFUSED: [u64; 6] = [
    0x5412, // TIOCSTI
    0x541C, // TIOCLINUX
    0x540E, // TIOCSCTTY
    0x5410, // TIOCSPGRP
    0x8901, // FIOSETOWN
    0x8902, // SIOCSPGRP
];

/// Filters the calls of this thread and those that it starts later. False where the kernel or this architecture has no
/// such filter.
pub(crate) fn restrict() -> io::Result<bool> {
    if rustix::thread::secure_computing_mode().is_err_and(|error| error == rustix::io::Errno::INVAL)
        || !cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))
    {
        return Ok(false);
    }
    // The C library asks again by `clone`, whose flags can be looked at, if the kernel seems not to know `clone3`.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    install(unknown, libc::ENOSYS)?;
    install(refused().map_err(io::Error::other)?, libc::EPERM)?;
    Ok(true)
}

/// Whether this process's calls are filtered.
pub(crate) fn is_active() -> bool {
    rustix::thread::secure_computing_mode().is_ok_and(|mode| mode == SecureComputingMode::Filter)
}

fn refused() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().chain(REFUSED_OLDER).map(|call| (*call, Vec::new())).collect();
    let own = u64::from(std::process::id());
    let when = |argument, comparison, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, comparison, value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    };
    let when_pointer = |argument| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    };
    let any_of = |argument, values: &mut dyn Iterator<Item = u64>| {
        values.map(|value| when(argument, SeccompCmpOp::Eq, value)).collect::<Result<Vec<_>, _>>()
    };
    // A thread of this process is allowed, a process is not.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![when(0, SeccompCmpOp::MaskedEq(thread), 0)?]);
    // Signals to itself only: `abort` needs them.
    rules.insert(libc::SYS_kill, vec![when(0, SeccompCmpOp::Ne, own)?]);
    rules.insert(libc::SYS_tgkill, vec![when(0, SeccompCmpOp::Ne, own)?]);
    // Reading limits is allowed, setting them is not.
    rules.insert(libc::SYS_prlimit64, vec![when_pointer(2)?]);
    // A stream pair within the process cannot be connected to anything else; a pair of another type can.
    let stream = SeccompCmpOp::MaskedEq(0xf);
    let no_stream = (0..=0xf).filter(|kind| *kind != libc::SOCK_STREAM as u64);
    let mut pairs = vec![when(0, SeccompCmpOp::Ne, libc::AF_UNIX as u64)?];
    for kind in no_stream {
        pairs.push(when(1, stream.clone(), kind)?);
    }
    rules.insert(libc::SYS_socketpair, pairs);
    // `send` is `sendto` without an address.
    rules.insert(libc::SYS_sendto, vec![when_pointer(4)?]);
    rules.insert(libc::SYS_prctl, any_of(0, &mut PRCTL_REFUSED.iter().map(|option| *option as u32 as u64))?);
    rules
        .insert(libc::SYS_fcntl, any_of(1, &mut FCNTL_REFUSED.iter().map(|command| *command as u32 as u64))?);
    rules.insert(libc::SYS_ioctl, any_of(1, &mut IOCTL_REFUSED.iter().copied())?);
    #[cfg(target_arch = "x86_64")]
    {
        let common: Vec<i64> = rules.keys().map(|call| call | X32_BIT).collect();
        let own = X32_OWN.map(|call| call | X32_BIT);
        rules.extend(common.into_iter().chain(own).map(|call| (call, Vec::new())));
        rules.insert(libc::SYS_clone3 | X32_BIT, Vec::new());
    }
    Ok(rules)
}

fn install(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> io::Result<()> {
    let architecture = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let answer = SeccompAction::Errno(errno as u32);
    let program: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture)
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}
