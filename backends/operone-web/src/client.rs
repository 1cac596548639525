//! Requests behind the egress guard: each URL on the way is checked, and what comes back is bounded.

use std::sync::Arc;
use std::time::Duration;

use operone_core::Result;
use operone_core::egress::EgressPolicy;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderName, LOCATION, RANGE};
use reqwest::{Client, Response, Url};
use rustls::ClientConfig;

use crate::error::{denied, encoded, from_transport, invalid_url, timed_out, too_large, too_many_redirects};
use crate::guard::{Guard, Ports};
use crate::transport;
use crate::url::{join, literal};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// The longest time of a whole call unless another is set.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Calls web servers that the egress policy permits. Clones share connections.
///
/// - http and https at the ports 80 and 443; at other ports only hosts whose address an allowed network names.
/// - At most five redirects, each checked like the first URL. A redirect from https to http is followed.
/// - Five seconds for a connection, thirty for a whole call. No cookies, no proxy, no compression.
/// - A name that has refused addresses besides permitted ones is called at the permitted ones.
#[derive(Clone, Debug)]
pub struct WebClient {
    usual_ports: Access,
    other_ports: Access,
    timeout: Duration,
}

/// A client and the guard that it resolves by.
#[derive(Clone, Debug)]
struct Access {
    guard: Guard,
    client: Client,
}

impl WebClient {
    /// Reads the operating system's trusted certificates; calls nobody.
    ///
    /// Errors: `Internal` if TLS cannot be set up.
    pub fn new(policy: EgressPolicy) -> Result<Self> {
        let (policy, tls) = (Arc::new(policy), transport::tls()?);
        let guard = |ports| Guard::new(Arc::clone(&policy), ports);
        Ok(Self {
            usual_ports: Access::new(guard(Ports::Usual), tls.clone())?,
            other_ports: Access::new(guard(Ports::Other), tls)?,
            timeout: TIMEOUT,
        })
    }

    /// Sets the longest time of a whole call, from the resolving of the name to the last byte and through all
    /// redirects; thirty seconds by default.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs one whole call within the time that it has.
    pub(crate) async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(self.timeout, call).await.map_err(|_| timed_out(self.timeout))?
    }

    /// Requests the URL and follows redirects up to an answer of which nothing but the head has been read.
    pub(crate) async fn get(&self, url: Url) -> Result<Answer> {
        self.get_from(url, 0).await
    }

    /// Like [`get`](Self::get), but asks for the bytes from `from` on.
    pub(crate) async fn get_from(&self, mut url: Url, from: u64) -> Result<Answer> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.request(&url, from).await?;
            match target(&url, &response)? {
                Some(target) => url = target,
                None => return Ok(Answer { url, response }),
            }
        }
        Err(too_many_redirects(MAX_REDIRECTS))
    }

    async fn request(&self, url: &Url, from: u64) -> Result<Response> {
        let port = url.port_or_known_default().ok_or_else(|| invalid_url("has no port"))?;
        let access = match Ports::of(port) {
            Ports::Usual => &self.usual_ports,
            Ports::Other => &self.other_ports,
        };
        // The client asks no resolver about a host that is an address.
        if literal(url).is_some_and(|address| !access.guard.admits(address)) {
            return Err(denied(url));
        }
        let mut request = access.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        request.send().await.map_err(|error| from_transport(url, error))
    }
}

impl Access {
    fn new(guard: Guard, tls: ClientConfig) -> Result<Self> {
        let client = transport::client(guard.clone(), tls)?;
        Ok(Self { guard, client })
    }
}

/// An answer whose body has not been read yet.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The URL that answered, after redirects.
    pub(crate) url: Url,
    response: Response,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// A header that is text.
    pub(crate) fn header(&self, name: HeaderName) -> Option<String> {
        Some(self.response.headers().get(name)?.to_str().ok()?.to_owned())
    }

    /// How long the body is, if the answer says so.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        let piece = self.response.chunk().await.map_err(|error| from_transport(&self.url, error))?;
        Ok(piece.map(Into::into))
    }

    /// Reads the body, which is `too_large` beyond `limit` bytes, whatever length was announced.
    pub(crate) async fn body(mut self, limit: usize) -> Result<Vec<u8>> {
        let encoding = self.response.headers().get(CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(encoded(&self.url));
        }
        if self.response.content_length().is_some_and(|announced| announced > limit as u64) {
            return Err(too_large(&self.url, limit));
        }
        let mut body = Vec::new();
        while let Some(part) =
            self.response.chunk().await.map_err(|error| from_transport(&self.url, error))?
        {
            if part.len() > limit - body.len() {
                return Err(too_large(&self.url, limit));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }
}

/// Where the answer redirects to, if it does.
fn target(url: &Url, response: &Response) -> Result<Option<Url>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
    let location = std::str::from_utf8(location.as_bytes())
        .map_err(|_| invalid_url("redirects to what cannot be understood"))?;
    join(url, location).map(Some)
}
