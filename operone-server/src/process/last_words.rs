//! What a worker process says on its standard error: passed on, and its end kept.

use std::io::Write;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;

/// How much is kept, in bytes.
const KEPT: usize = 4096;

/// How long the rest may take once the process has died.
const REST: Duration = Duration::from_millis(500);

/// The end of a standard error that is being passed on to the server's own.
#[derive(Debug)]
pub(super) struct LastWords(JoinHandle<Vec<u8>>);

impl LastWords {
    /// Passes on what comes until its end. Must be called within a tokio runtime.
    pub(super) fn follow(from: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self(tokio::spawn(pass_on(from)))
    }

    /// What a process that has died said last.
    pub(super) async fn take(self) -> Vec<u8> {
        tokio::time::timeout(REST, self.0).await.ok().and_then(Result::ok).unwrap_or_default()
    }
}

async fn pass_on(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut end, mut part) = (Vec::new(), vec![0; KEPT]);
    while let Ok(length @ 1..) = from.read(&mut part).await {
        let part = part.get(..length).unwrap_or_default();
        // Nobody may be there to read it.
        let _ = std::io::stderr().write_all(part);
        end.extend_from_slice(part);
        end.drain(..end.len().saturating_sub(KEPT));
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_is_kept() {
        let said = [vec![b'.'; 3 * KEPT], b"the end".to_vec()].concat();
        let words = LastWords::follow(std::io::Cursor::new(said)).take().await;
        assert!(words.len() == KEPT && words.ends_with(b".the end"));
    }
}
