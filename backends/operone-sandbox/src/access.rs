//! Landlock: which files a process may touch, and that it reaches no port, no abstract socket and no process outside.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::fence::Files;

/// The newest version whose rights are asked for; older kernels enforce what they know of it.
const NEWEST: ABI = ABI::V10;

/// Restricts this thread and those that it starts later, and gives the kernel's version of Landlock; `None` where it
/// has none or it is switched off.
pub(crate) fn restrict(files: &Files) -> io::Result<Option<i32>> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    let ruleset = match files {
        Files::None => ruleset,
        Files::Read(root) | Files::ReadAndWrite(root) => {
            let root = PathFd::new(root).map_err(io::Error::other)?;
            ruleset.add_rule(PathBeneath::new(root, rights(files))).map_err(io::Error::other)?
        }
    };
    let status = ruleset.no_new_privs(true).restrict_self().map_err(io::Error::other)?;
    Ok(match status.landlock {
        _ if status.ruleset == RulesetStatus::NotEnforced => None,
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            Some(kernel_abi.unwrap_or(effective_abi as i32))
        }
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
    })
}

/// Neither running a program nor making devices, sockets, pipes or symbolic links belongs to what the tools need.
fn rights(files: &Files) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    match files {
        Files::None => BitFlags::EMPTY,
        Files::Read(_) => read,
        Files::ReadAndWrite(_) => {
            read | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::MakeReg
                | AccessFs::MakeDir
                | AccessFs::RemoveFile
                | AccessFs::RemoveDir
                | AccessFs::Refer
        }
    }
}
