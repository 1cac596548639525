//! Fetches a file that must have a known SHA-256, and goes on where an earlier try broke off.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind as IoErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use operone_core::error::{Error, ErrorKind, Result};
use operone_web::WebClient;
use sha2::{Digest, Sha256};

use super::manifest;

/// How often a transfer that breaks off is taken up again.
const TRIES: usize = 4;

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It was there as it must be.
    Already,
    /// It was fetched; so many bytes came over the network.
    Now(u64),
}

/// Brings `file` into `folder`.
///
/// What comes is kept beside the file with `.part` at the end of its name until it is whole and has the right hash, so
/// that a file under its own name is always whole. A part that is there is taken up again. One process at a time
/// fetches a file. Errors: those of [`WebClient::download`], `wrong_hash` for a file that is not what it must be, which
/// is thrown away, `in_use`, and `not_writable`.
pub(super) async fn fetch(
    client: &WebClient,
    from: &str,
    folder: &Path,
    file: &manifest::File,
    bar: &ProgressBar,
) -> Result<Fetched> {
    let target = folder.join(&file.name);
    if hash_of(&target)?.is_some_and(|hash| hash == file.sha256) {
        return Ok(Fetched::Already);
    }
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(not_writable(parent))?;
    }
    let path = part_of(&target);
    let mut part = Part::open(&path)?;
    let resumed = part.length > 0;
    let url = format!("{from}{}", file.name);
    let mut came = part.complete(client, &url, bar).await?;
    if resumed && part.hash() != file.sha256 {
        // What was there before may have been of another file.
        part.restart()?;
        came = part.complete(client, &url, bar).await?;
    }
    let hash = part.hash();
    if hash != file.sha256 {
        std::fs::remove_file(&path).map_err(not_writable(&path))?;
        return Err(Error::invalid(format!(
            "what {url} sends is not the file that was asked for: its SHA-256 is {hash}, not {}",
            file.sha256
        ))
        .with_code("wrong_hash"));
    }
    part.file.sync_all().map_err(not_writable(&path))?;
    std::fs::rename(&path, &target).map_err(not_writable(&target))?;
    Ok(Fetched::Now(came))
}

/// A file that is not whole yet, with the hash of what is there.
struct Part {
    file: File,
    path: PathBuf,
    hash: Sha256,
    length: u64,
}

impl Part {
    fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(not_writable(path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("another process is fetching {}", path.display());
                return Err(Error::conflict(message).with_code("in_use"));
            }
            Err(TryLockError::Error(error)) => return Err(not_writable(path)(error)),
        }
        let (hash, length) = read(&mut file).map_err(not_writable(path))?;
        Ok(Self { file, path: path.to_path_buf(), hash, length })
    }

    /// Fetches what is missing; gives how many bytes came.
    async fn complete(&mut self, client: &WebClient, url: &str, bar: &ProgressBar) -> Result<u64> {
        let mut came = 0;
        let mut tries = 1;
        loop {
            let before = self.length;
            match self.transfer(client, url, bar, &mut came).await {
                Ok(()) => return Ok(came),
                // As long as something comes the transfer goes on; a server that sends nothing is given up.
                Err(error) if error.kind() == ErrorKind::Unavailable && tries < TRIES => {
                    tries = if self.length > before { 1 } else { tries + 1 };
                    tokio::time::sleep(std::time::Duration::from_millis(250 << tries)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn transfer(
        &mut self,
        client: &WebClient,
        url: &str,
        bar: &ProgressBar,
        came: &mut u64,
    ) -> Result<()> {
        let mut download = client.download(url, self.length).await?;
        if download.start() != self.length {
            self.restart()?;
        }
        if let Some(length) = download.length() {
            bar.set_length(length);
        }
        while let Some(piece) = download.piece().await? {
            self.file.write_all(&piece).map_err(not_writable(&self.path))?;
            self.hash.update(&piece);
            self.length += piece.len() as u64;
            *came += piece.len() as u64;
            bar.set_position(self.length);
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(not_writable(&self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(not_writable(&self.path))?;
        (self.hash, self.length) = (Sha256::new(), 0);
        Ok(())
    }

    fn hash(&self) -> String {
        hexadecimal(self.hash.clone())
    }
}

/// The SHA-256 of a file; `None` if there is none.
fn hash_of(path: &Path) -> Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(not_writable(path)(error)),
    };
    let (hash, _) = read(&mut file).map_err(not_writable(path))?;
    Ok(Some(hexadecimal(hash)))
}

/// Reads a file to its end.
fn read(file: &mut File) -> std::io::Result<(Sha256, u64)> {
    let (mut hash, mut length) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok((hash, length));
        };
        hash.update(bytes);
        length += bytes.len() as u64;
    }
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn not_writable(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |error| {
        Error::new(ErrorKind::Unavailable, format!("{path} cannot be read or written"))
            .with_code("not_writable")
            .with_retryable(false)
            .with_source(error)
    }
}
