//! A large file, piece by piece as it comes, from any byte on.

use std::time::Duration;

use operone_core::{Error, ErrorKind, Result};
use reqwest::Url;
use reqwest::header::CONTENT_RANGE;

use crate::WebClient;
use crate::client::Answer;
use crate::error::{invalid_url, timed_out};

/// The longest wait for the head of the answer, and for each further piece.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer that is read piece by piece. Dropping it ends the request.
#[derive(Debug)]
pub struct Download {
    answer: Answer,
    start: u64,
    length: Option<u64>,
}

impl WebClient {
    /// Requests a file from the byte `from` on. There is no limit to its size, and none to the whole time: only to the
    /// wait for the next piece, a minute.
    ///
    /// Errors: `invalid_url`, `egress_denied`, `too_many_redirects`, `unreachable`, `timeout`; `not_found` for the
    /// status 404 and `download_refused` for any other that brings no file.
    pub async fn download(&self, url: &str, from: u64) -> Result<Download> {
        let parsed = Url::parse(url).map_err(|_| invalid_url("is not understood"))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(invalid_url("is neither http nor https"));
        }
        let mut answer = in_time(self.get_from(parsed.clone(), from)).await?;
        if answer.status() == 416 {
            // There is nothing from there on: what the caller has is whole, or is not this file.
            answer = in_time(self.get_from(parsed, 0)).await?;
        }
        match answer.status() {
            200 => Ok(Download { start: 0, length: answer.announced(), answer }),
            206 => {
                let range = answer.header(CONTENT_RANGE).as_deref().and_then(range);
                let (start, length) = range.ok_or_else(|| refused(206))?;
                if start != from {
                    return Err(refused(206));
                }
                Ok(Download { answer, start, length })
            }
            404 => Err(Error::not_found(format!("there is nothing at {url}"))),
            status => Err(refused(status)),
        }
    }
}

impl Download {
    /// The place of the first byte that comes: what was asked for, or 0 from a server that sends whole files only.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// How many bytes the whole file has, if the server says so.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next piece; `None` at the end. An answer that breaks off is an error.
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        in_time(self.answer.piece()).await
    }
}

async fn in_time<T>(wait: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, wait).await.map_err(|_| timed_out(PATIENCE))?
}

fn refused(status: u16) -> Error {
    let kind = if status >= 500 || status == 429 { ErrorKind::Unavailable } else { ErrorKind::Denied };
    Error::new(kind, format!("the server does not send the file: it answers with the status {status}"))
        .with_code("download_refused")
}

/// The first byte and the length of the whole, from `bytes 5-9/10`.
fn range(header: &str) -> Option<(u64, Option<u64>)> {
    let (places, length) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = places.split_once('-')?;
    Some((start.trim().parse().ok()?, length.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_understood() {
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(range("bytes */10"), None);
        assert_eq!(range("lines 1-2/3"), None);
    }
}
