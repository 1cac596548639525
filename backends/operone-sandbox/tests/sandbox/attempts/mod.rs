//! Attempts to get out, each a function that succeeds if it got out.

mod files;
mod kernel;
mod network;
mod processes;

use std::io;
use std::path::PathBuf;
use std::process::Command;

/// What there is to get at.
#[derive(Debug)]
pub(crate) struct Place {
    /// The folder that is allowed. `inside.txt` is in it, and `door`, a symbolic link to the folder outside. In an
    /// attempt whose name says `race` the door and the empty folder `folder` change places all the time.
    pub(crate) root: PathBuf,
    /// The folder that is not, with `secret.txt` in it.
    pub(crate) outside: PathBuf,
    /// The process that started the attempt.
    pub(crate) parent: i32,
    /// The TCP port on which it listens, and the UDP port.
    pub(crate) ports: (u16, u16),
    /// The name of its abstract socket. Its other socket is `outside/socket`.
    pub(crate) socket: String,
}

const VARIABLES: [&str; 6] = ["ROOT", "OUTSIDE", "PARENT", "TCP", "UDP", "SOCKET"];

impl Place {
    pub(crate) fn tell(&self, command: &mut Command) {
        let values = [
            self.root.display().to_string(),
            self.outside.display().to_string(),
            self.parent.to_string(),
            self.ports.0.to_string(),
            self.ports.1.to_string(),
            self.socket.clone(),
        ];
        command.envs(VARIABLES.iter().map(|name| format!("OPERONE_TEST_{name}")).zip(values));
    }

    pub(crate) fn from_environment() -> Self {
        let [root, outside, parent, tcp, udp, socket] =
            VARIABLES.map(|name| std::env::var(format!("OPERONE_TEST_{name}")).unwrap());
        Self {
            root: root.into(),
            outside: outside.into(),
            parent: parent.parse().unwrap(),
            ports: (tcp.parse().unwrap(), udp.parse().unwrap()),
            socket,
        }
    }
}

/// What an attempt does where nothing is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfenced {
    /// It succeeds.
    Succeeds,
    /// It succeeds for root.
    SucceedsForRoot,
    /// It is not made: it would harm the machine, or the kernel may be built without it.
    Untried,
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) unfenced: Unfenced,
    attempt: fn(&Place) -> io::Result<()>,
}

/// Every attempt.
pub(crate) fn all() -> Vec<Case> {
    let mut all = files::cases();
    all.extend(network::cases());
    all.extend(processes::cases());
    all.extend(kernel::cases());
    all
}

/// What must go on working in a fenced process.
pub(crate) fn needed() -> Vec<Case> {
    [files::needed(), processes::needed()].into_iter().flatten().collect()
}

/// Makes one attempt and ends the process: with 0 if it succeeded, otherwise with the error's number.
pub(crate) fn make(name: &str, place: &Place) {
    let case = all().into_iter().chain(needed()).find(|case| case.name == name).unwrap();
    let code = match (case.attempt)(place) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{name}: {error:?}");
            error.raw_os_error().or_else(|| number_of(&error)).unwrap_or(255)
        }
    };
    std::process::exit(code);
}

/// What the standard library keeps of an error without a number.
fn number_of(error: &io::Error) -> Option<i32> {
    (error.kind() == io::ErrorKind::PermissionDenied).then_some(libc::EACCES)
}

fn case(name: &'static str, unfenced: Unfenced, attempt: fn(&Place) -> io::Result<()>) -> Case {
    Case { name, unfenced, attempt }
}

/// A bare system call.
fn call(number: i64, arguments: [usize; 6]) -> io::Result<usize> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: each caller passes what the call takes, or addresses that it holds for the time of the call.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result as usize),
    }
}

/// A bare system call with few arguments; the rest is zero.
fn call_with(number: i64, arguments: &[usize]) -> io::Result<()> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    call(number, all).map(drop)
}
