//! One writer at a time in a folder, whichever process it is in.

use std::fs::File;
use std::fs::TryLockError;
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use operone_core::{Error, ErrorKind, Result};

use crate::blocking::Stop;

/// How long a writer waits for the others.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The pause between two tries; it doubles up to the second figure.
const PAUSE: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(16)];

/// Held while a file is written; released on drop, and by the system if the process dies.
#[derive(Debug)]
pub(crate) struct WriteLock {
    _folder: File,
}

impl WriteLock {
    /// Waits until no other writer is in the folder.
    ///
    /// The lock is on the folder itself, so that nothing is put into it, and belongs to a handle opened here, so that
    /// two handles of one process exclude each other like two processes.
    pub(crate) fn acquire(folder: &Dir, stop: &Stop) -> Result<Self> {
        let cannot = |error| {
            Error::new(ErrorKind::Unavailable, "the folder cannot be locked for writing")
                .with_code("unwritable")
                .with_source(error)
        };
        let folder = folder.open(".").map_err(cannot)?.into_std();
        let begin = Instant::now();
        let [mut pause, longest] = PAUSE;
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(Self { _folder: folder }),
                Err(TryLockError::Error(error)) => return Err(cannot(error)),
                Err(TryLockError::WouldBlock) if begin.elapsed() > LONGEST_WAIT => {
                    let detail = "others write into the folder without end";
                    return Err(Error::new(ErrorKind::Unavailable, detail).with_code("busy"));
                }
                Err(TryLockError::WouldBlock) => {
                    stop.check()?;
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }
}
