//! Attempts on the machine and on the rarer parts of its kernel.

use super::Unfenced::{Succeeds, SucceedsForRoot, Untried};
use super::{Case, call_with, case};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("mount", Untried, |place| {
            let path = std::ffi::CString::new(place.root.as_os_str().as_encoded_bytes()).unwrap();
            let (source, kind) = (c"none".as_ptr() as usize, c"tmpfs".as_ptr() as usize);
            call_with(libc::SYS_mount, &[source, path.as_ptr() as usize, kind, 0, 0])
        }),
        case("unshare the mounts", SucceedsForRoot, |_| {
            call_with(libc::SYS_unshare, &[libc::CLONE_NEWNS as usize])
        }),
        case("unshare the users", Untried, |_| call_with(libc::SYS_unshare, &[libc::CLONE_NEWUSER as usize])),
        case("change the root", SucceedsForRoot, |_| {
            std::os::unix::fs::chroot("/").and_then(|()| std::env::set_current_dir("/"))
        }),
        case("enter the parent's name spaces", Untried, |_| call_with(libc::SYS_setns, &[0, 0])),
        case("be another kind of program", Succeeds, |_| call_with(libc::SYS_personality, &[0])),
        case("type into the terminal", Untried, |_| {
            call_with(libc::SYS_ioctl, &[0, libc::TIOCSTI as usize, c"x".as_ptr() as usize])
        }),
        case("type into the terminal, with bits above", Untried, |_| {
            let request = libc::TIOCSTI as usize | 1 << 32;
            call_with(libc::SYS_ioctl, &[0, request, c"x".as_ptr() as usize])
        }),
        case("read the clock's corrections", Succeeds, |_| {
            let corrections = [0_u64; 64];
            call_with(libc::SYS_adjtimex, &[corrections.as_ptr() as usize])
        }),
        case("read the kernel's log", SucceedsForRoot, |_| call_with(libc::SYS_syslog, &[10, 0, 0])),
    ];
    // Each with arguments that name nothing: what is not refused for itself fails for these.
    macro_rules! refused {
        ($($name:literal: $call:ident),* $(,)?) => {
            $(cases.push(case($name, Untried, |_| call_with(libc::$call, &[usize::MAX; 5])));)*
        };
    }
    refused! {
        "unmount": SYS_umount2,
        "swap the root": SYS_pivot_root,
        "move a mount": SYS_move_mount,
        "copy a mount": SYS_open_tree,
        "open a file system": SYS_fsopen,
        "load a program into the kernel": SYS_bpf,
        "use the kernel's keys": SYS_keyctl,
        "add a key": SYS_add_key,
        "measure other programs": SYS_perf_event_open,
        "handle page faults": SYS_userfaultfd,
        "hide memory from the kernel": SYS_memfd_secret,
        "load another kernel": SYS_kexec_load,
        "restart the machine": SYS_reboot,
        "load a module": SYS_init_module,
        "load a module from a file": SYS_finit_module,
        "unload a module": SYS_delete_module,
        "set the time of day": SYS_settimeofday,
        "set a clock": SYS_clock_settime,
        "name the machine": SYS_sethostname,
        "name the machine's domain": SYS_setdomainname,
        "swap to a file": SYS_swapon,
        "stop swapping": SYS_swapoff,
        "write accounts of processes": SYS_acct,
        "set quotas": SYS_quotactl,
        "hang up the terminal": SYS_vhangup,
        "move pages of others": SYS_move_pages,
        "advise on memory of others": SYS_process_madvise,
        "compare processes": SYS_kcmp,
    }
    cases
}
