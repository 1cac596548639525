//! The tool `http.get`.

use operone_core::text::floor_char_boundary;
use operone_core::tool::{Tool, ToolContext, ToolHandle, ToolSpec};
use operone_core::{Error, ErrorKind, Result};
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::client::WebClient;
use crate::url;

/// The most bytes that are received.
const MAX_BODY: usize = 5 * 1024 * 1024;

/// The most bytes of text that are passed on.
const MAX_CONTENT: usize = 256 * 1024;

/// The tool `http.get`: requests a URL and gives the answer as text, whatever its status.
///
/// - Input `{"url"}`; output `{"url", "status", "content_type", "content", "truncated"}`, the URL being the one that
///   answered after redirects, the content type null where there is none.
/// - Bytes that are no UTF-8 are replaced. Text beyond 256 KiB is cut off, and `truncated` says so.
/// - Codes: `invalid_url`, `egress_denied`, `too_large` (over 5 MiB), `too_many_redirects`, `timeout`,
///   `unreachable` (also where the answer breaks off), `unreadable` (compressed though it was not asked for).
/// - Dropping the call closes the connection. A cancelled context ends it as `Cancelled`.
pub fn http_get_tool(client: WebClient) -> ToolHandle {
    ToolHandle::new(HttpGet { client })
}

struct HttpGet {
    client: WebClient,
}

#[derive(Debug, Deserialize)]
struct Input {
    url: String,
}

#[derive(Debug, Serialize)]
struct Output {
    url: String,
    status: u16,
    content_type: Option<String>,
    content: String,
    truncated: bool,
}

impl Tool for HttpGet {
    type Input = Input;
    type Output = Output;

    fn spec(&self) -> ToolSpec {
        ToolSpec::new(
            "http.get",
            "Requests a web address by GET and gives the answer as text: at most 256 KiB, and 'truncated' says \
             whether there was more. Look at 'status': the answer may be an error page. Only public hosts can be \
             reached.",
        )
        .with_egress()
        .with_untrusted_output()
        .with_input_schema(json!({
            "type": "object",
            "required": ["url"],
            "properties": {
                "url": {"type": "string", "description": "the address, beginning with http:// or https://"}
            }
        }))
    }

    async fn call(&self, context: &ToolContext, input: Input) -> Result<Output> {
        let called = self.client.in_time(self.get(&input.url));
        let called = context.cancelled.run_until_cancelled(called).await;
        called.unwrap_or_else(|| Err(Error::new(ErrorKind::Cancelled, "the request was cancelled")))
    }
}

impl HttpGet {
    async fn get(&self, address: &str) -> Result<Output> {
        let answer = self.client.get(url::parse(address)?).await?;
        let (url, status) = (answer.url.to_string(), answer.status());
        let content_type = answer.header(CONTENT_TYPE);
        let body = answer.body(MAX_BODY).await?;
        let mut content = String::from_utf8_lossy(&body).into_owned();
        let truncated = cut(&mut content, MAX_CONTENT);
        Ok(Output { url, status, content_type, content, truncated })
    }
}

/// Cuts the text after the last character that ends within `limit` bytes; says whether something was cut off.
fn cut(text: &mut String, limit: usize) -> bool {
    if text.len() <= limit {
        return false;
    }
    text.truncate(floor_char_boundary(text, limit));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, kept, truncated) in [
            ("abc", "abc", false),
            ("abcd", "abc", true),
            ("abé", "ab", true),
            ("🗼", "", true),
            ("", "", false),
        ] {
            let mut cut_text = text.to_owned();
            assert_eq!((cut(&mut cut_text, 3), cut_text.as_str()), (truncated, kept), "{text}");
        }
    }
}
