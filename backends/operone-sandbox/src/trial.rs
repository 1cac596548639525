//! The trial behind a probe: a process that fences itself and tries what is then forbidden, and its parent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{DumpableBehavior, Pid, Signal};

use super::{Layer, Probe};
use crate::fence::Files;
use crate::limits::Limits;

/// How long the process may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The memory of the process, and what it asks for in vain.
const RAM: u64 = 128 << 20;
const TOO_MUCH: usize = 512 << 20;

/// Starts the process, takes its report, and watches it for a moment.
pub(super) fn run(program: &Path, argument: &str) -> Result<Probe, String> {
    let mut child = Command::new(program)
        .arg(argument)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    let report = take_report(&mut child).map(|mut probe| {
        probe.layers.insert("watchdog".to_owned(), watch(child.id()).into());
        probe
    });
    let _ = child.kill();
    let _ = child.wait();
    report
}

/// In the process: fences it, tries, and reports.
pub(super) fn report() -> io::Result<()> {
    let probe = try_all();
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, &probe)?;
    writeln!(output)?;
    output.flush()?;
    io::stdin().lock().read_to_end(&mut Vec::new()).map(drop)
}

fn take_report(child: &mut Child) -> Result<Probe, String> {
    let output = child.stdout.take().ok_or("the trial has no output")?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line).map(|_| line);
        // Whoever asked may have given up.
        let _ = sender.send(read);
    });
    let line = receiver.recv_timeout(PATIENCE).map_err(|_| "the trial takes too long")?;
    let line = line.map_err(|error| format!("the trial's report cannot be read: {error}"))?;
    serde_json::from_str(&line).map_err(|_| "the trial ended without a report".to_owned())
}

/// Whether a process can be measured, stopped and let go on.
fn watch(pid: u32) -> Result<(), String> {
    let memory =
        crate::process::memory(pid).map_err(|error| format!("its memory cannot be read: {error}"))?;
    if memory == 0 {
        return Err("the kernel does not tell how much memory a process holds".to_owned());
    }
    crate::process::processor_time(pid)
        .map_err(|error| format!("its processor time cannot be read: {error}"))?;
    let group = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("it has no number")?;
    let signal = |signal| {
        rustix::process::kill_process_group(group, signal)
            .map_err(|error| format!("it takes no signal: {error}"))
    };
    signal(Signal::STOP)?;
    let begun = Instant::now();
    while crate::process::state(pid).ok() != Some('T') {
        if begun.elapsed() > Duration::from_secs(1) {
            return Err("a process goes on although it was stopped".to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(Signal::CONT)
}

fn try_all() -> Probe {
    let mut layers = BTreeMap::new();
    let mut found = |name: &str, tried: Result<(), String>| {
        layers.insert(name.to_owned(), Layer::from(tried));
    };
    let open = Outside::new();

    let applied = Limits::default().with_ram(RAM).with_cpu(1000).apply().map_err(|error| error.to_string());
    found("rlimit_data", applied.clone().and_then(|()| memory_is_limited()));
    found("affinity", applied.clone().and_then(|()| one_core_is_left()));
    found("not_dumpable", applied.and_then(|()| memory_is_hidden()));

    let landlock = crate::access::restrict(&Files::None).map_err(|error| error.to_string());
    let landlock_abi = landlock.clone().ok().flatten();
    let landlock = landlock.and_then(|abi| match abi {
        Some(_) => Ok(()),
        None => Err("this kernel has no Landlock, or it is switched off".to_owned()),
    });
    found("landlock_files", landlock.clone().and_then(|()| open.no_file()));
    found("landlock_tcp", landlock.clone().and_then(|()| open.no_port()));
    found("landlock_sockets", landlock.clone().and_then(|()| open.no_abstract_socket()));
    found("landlock_signals", landlock.and_then(|()| no_signal()));

    let seccomp = match crate::syscalls::restrict() {
        Ok(true) if crate::syscalls::is_active() => calls_are_refused(),
        Ok(_) => Err("this kernel filters no system calls".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    found("seccomp", seccomp);
    Probe { landlock_abi, layers }
}

/// What could be done before the fence, so that a refusal afterwards is the fence's.
struct Outside {
    port: Option<TcpListener>,
    socket: Option<(UnixListener, SocketAddr)>,
}

impl Outside {
    fn new() -> Self {
        let name = format!("operone-trial-{}", std::process::id());
        let socket = SocketAddr::from_abstract_name(name)
            .and_then(|address| Ok((UnixListener::bind_addr(&address)?, address)))
            .ok();
        Self { port: TcpListener::bind(("127.0.0.1", 0)).ok(), socket }
    }

    fn no_file(&self) -> Result<(), String> {
        refused(File::open("/proc/self/stat"), "a file can still be opened")
    }

    fn no_port(&self) -> Result<(), String> {
        if self.port.is_none() {
            return Err("it cannot be tried: no port can be opened without it either".to_owned());
        }
        refused(TcpListener::bind(("127.0.0.1", 0)), "a port can still be opened (Landlock 4, Linux 6.7)")
    }

    fn no_abstract_socket(&self) -> Result<(), String> {
        let Some((_, address)) = &self.socket else {
            return Err("it cannot be tried: no such socket can be made without it either".to_owned());
        };
        refused(
            UnixStream::connect_addr(address),
            "an abstract socket can still be reached (Landlock 6, Linux 6.12)",
        )
    }
}

fn no_signal() -> Result<(), String> {
    let parent = rustix::process::getppid().ok_or("it cannot be tried: no parent is seen")?;
    let sent = rustix::process::test_kill_process(parent).map_err(io::Error::from);
    refused(sent, "another process can still be sent signals (Landlock 6, Linux 6.12)")
}

fn memory_is_limited() -> Result<(), String> {
    match Vec::<u8>::new().try_reserve_exact(TOO_MUCH) {
        Err(_) => Ok(()),
        Ok(()) => Err("more memory can still be had".to_owned()),
    }
}

fn one_core_is_left() -> Result<(), String> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(cores) if cores.count() == 1 => Ok(()),
        Ok(cores) => Err(format!("the process may still use {} cores", cores.count())),
        Err(error) => Err(error.to_string()),
    }
}

fn memory_is_hidden() -> Result<(), String> {
    match rustix::process::dumpable_behavior() {
        Ok(DumpableBehavior::NotDumpable) => Ok(()),
        Ok(_) => Err("others may still read the process's memory".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A socket and a program, which the filter refuses by `EPERM`; Landlock would refuse them later or otherwise.
fn calls_are_refused() -> Result<(), String> {
    refused(UnixStream::connect("/"), "a socket can still be made")?;
    refused(Command::new("/proc/self/exe").spawn(), "a process can still be started")
}

fn refused<T>(tried: io::Result<T>, otherwise: &str) -> Result<(), String> {
    match tried {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(format!("{otherwise}, or something else is in the way: {error}")),
        Ok(_) => Err(otherwise.to_owned()),
    }
}
