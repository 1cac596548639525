//! Documents from the web, named by `http://` and `https://` URIs.

use async_trait::async_trait;
use operone_core::clock::Timestamp;
use operone_core::source::{Fetched, Source};
use operone_core::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, LAST_MODIFIED};

use crate::client::WebClient;
use crate::url;

/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024 * 1024;

/// Reads documents of at most 64 MiB over HTTP.
///
/// - One spelling: scheme and host in lower case, no default port, no dot segments, no fragment. The query stays.
/// - The name is the last part of the path, else the host; redirects do not change it.
/// - Codes: `invalid_uri`, `not_found` (status 404 and 410), `denied` (401 and 403), `unreadable` (any other status
///   than 200, worth another try from 500 on), `too_large`, and of the way there `egress_denied`,
///   `too_many_redirects`, `timeout` and `unreachable`.
#[derive(Clone, Debug)]
pub struct WebSource {
    client: WebClient,
}

impl WebSource {
    /// Reads by this client.
    pub fn new(client: WebClient) -> Self {
        Self { client }
    }

    async fn get(&self, url: Url) -> Result<Fetched> {
        let name = name(&url);
        let answer = self.client.get(url).await?;
        check(&name, answer.status())?;
        let modified = answer.header(LAST_MODIFIED).as_deref().and_then(date);
        let media_type = answer.header(CONTENT_TYPE);
        let body = answer.body(MAX_DOCUMENT).await?;
        let mut fetched = Fetched::new(name, body).with_modified(modified);
        fetched.media_type = media_type;
        Ok(fetched)
    }
}

#[async_trait]
impl Source for WebSource {
    fn schemes(&self) -> &[&str] {
        &["http", "https"]
    }

    fn normalize(&self, uri: &str) -> Result<String> {
        Ok(url::parse(uri).map_err(of_uri)?.to_string())
    }

    async fn fetch(&self, uri: &str) -> Result<Fetched> {
        let url = url::parse(uri).map_err(of_uri)?;
        self.client.in_time(self.get(url)).await.map_err(of_uri)
    }
}

/// Sources name a wrong URI by a code that they share.
fn of_uri(error: Error) -> Error {
    if error.code() == "invalid_url" { error.with_code("invalid_uri") } else { error }
}

fn check(name: &str, status: u16) -> Result<()> {
    let (kind, code, what) = match status {
        200 => return Ok(()),
        404 | 410 => (ErrorKind::NotFound, "not_found", "does not exist"),
        401 | 403 => (ErrorKind::Denied, "denied", "may not be read without signing in"),
        408 | 429 | 500.. => (ErrorKind::Unavailable, "unreadable", "cannot be read now"),
        _ => (ErrorKind::Invalid, "unreadable", "cannot be read"),
    };
    Err(Error::new(kind, format!("'{name}' {what} (status {status})")).with_code(code))
}

/// The last part of the path, decoded where that gives the name of a file.
fn name(url: &Url) -> String {
    let Some(part) = url.path().rsplit('/').find(|part| !part.is_empty()) else {
        return url::host(url).to_owned();
    };
    let decoded = percent_decode_str(part).decode_utf8_lossy();
    let is_plain = !decoded.contains(|letter: char| letter == '/' || letter == '\\' || letter.is_control());
    if is_plain { decoded.into_owned() } else { part.to_owned() }
}

/// A date as headers write it, `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<Timestamp> {
    let moment = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp::from_millis(moment.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_last_part_of_the_path() {
        for (uri, expected) in [
            ("https://example.com/a/b.pdf?x=/c.txt", "b.pdf"),
            ("https://example.com/Gr%C3%BC%C3%9Fe%20b.txt", "Grüße b.txt"),
            ("https://example.com/a/", "a"),
            ("https://example.com", "example.com"),
            ("https://example.com//", "example.com"),
            ("https://example.com/..%2F..%2Fpasswd", "..%2F..%2Fpasswd"),
            ("https://example.com/a%0Ab", "a%0Ab"),
            ("http://[2606:4700::1]/", "[2606:4700::1]"),
        ] {
            assert_eq!(name(&url::parse(uri).unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn dates_of_headers_are_read() {
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Timestamp::from_millis(784_111_777_000)));
        for wrong in ["", "0", "yesterday", "1994-11-06T08:49:37Z", "Sun, 31 Feb 1994 08:49:37 GMT"] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_status_has_its_meaning() {
        use ErrorKind::{Denied, Invalid, NotFound, Unavailable};
        assert!(check("a", 200).is_ok());
        for (status, kind, code, retryable) in [
            (201, Invalid, "unreadable", false),
            (204, Invalid, "unreadable", false),
            (304, Invalid, "unreadable", false),
            (400, Invalid, "unreadable", false),
            (401, Denied, "denied", false),
            (403, Denied, "denied", false),
            (404, NotFound, "not_found", false),
            (410, NotFound, "not_found", false),
            (429, Unavailable, "unreadable", true),
            (500, Unavailable, "unreadable", true),
            (503, Unavailable, "unreadable", true),
        ] {
            let error = check("a", status).unwrap_err();
            assert_eq!(
                (error.kind(), error.code(), error.is_retryable()),
                (kind, code, retryable),
                "{status}"
            );
        }
    }
}
