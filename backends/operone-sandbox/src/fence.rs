//! What a process can reach: files, network, other processes, the kernel.

use std::io;
use std::path::PathBuf;

/// The files that a fenced process may open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// None. What is open already stays open.
    None,
    /// Those below a folder, to read.
    Read(PathBuf),
    /// Those below a folder, to read, write, make, rename and remove; no links, devices, sockets or pipes are made.
    ReadAndWrite(PathBuf),
}

/// Fences this process for good: no file but those named, no network, no other program or process, no sight of other
/// processes' memory, none of the calls that change the machine.
///
/// - Call it before any thread is started: threads that run already stay as they are.
/// - What the kernel does not offer is left out, as [`Probe`](crate::Probe) says; what it offers and then fails to do
///   is an error.
/// - The folder must exist.
/// - A repeat fences further and never less.
#[cfg(target_os = "linux")]
pub fn fence(files: &Files) -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    // In this order: the calls that make the second fence may not be forbidden by the first.
    if crate::access::restrict(files)?.is_none() {
        tracing::debug!("this kernel has no Landlock: files are not fenced");
    }
    if !crate::syscalls::restrict()? {
        tracing::debug!("this kernel filters no system calls");
    }
    Ok(())
}

/// Fences nothing: this system offers nothing for it, as the probe says.
#[cfg(not(target_os = "linux"))]
pub fn fence(_: &Files) -> io::Result<()> {
    Ok(())
}
