//! A model service that costs next to nothing: every answer is the same, one event for each token.

use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::{StreamExt, stream};
use tokio::time::sleep;

/// The most tokens of an answer.
const MOST: usize = 10_000;

/// What a request asks for, written into the message of the user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// How many tokens are answered.
    pub(crate) tokens: usize,
    /// How long before each but the first.
    pub(crate) pause: Duration,
    /// Whether the answer stops after its first token, with the stream open.
    pub(crate) holds: bool,
}

impl Wish {
    /// As the text of a message.
    pub(crate) fn text(&self) -> String {
        format!("tokens={} pause={} holds={}", self.tokens, self.pause.as_millis(), u8::from(self.holds))
    }

    /// Looks for the numbers in a request's body, which is not parsed.
    fn find(body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let number = |name: &str| {
            let digits = body.split_once(name).map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()));
            digits.and_then(|mut digits| digits.next()).and_then(|digits| digits.parse().ok()).unwrap_or(0)
        };
        Self {
            tokens: usize::try_from(number("tokens=")).unwrap_or(MOST).min(MOST),
            pause: Duration::from_millis(number("pause=")),
            holds: number("holds=") > 0,
        }
    }
}

pub(crate) fn router() -> Router {
    let tokens: Vec<Bytes> = (0..MOST).map(|place| chunk(&delta_of(place)).into()).collect();
    let tokens: &'static [Bytes] = tokens.leak();
    Router::new().route("/v1/chat/completions", post(move |body: Bytes| answer(Wish::find(&body), tokens)))
}

async fn answer(wish: Wish, tokens: &'static [Bytes]) -> Response {
    let first = stream::iter([chunk(r#"{"role":"assistant","content":""}"#).into()]);
    let count = if wish.holds { 1 } else { wish.tokens };
    let tokens = stream::iter(tokens.iter().take(count).cloned().enumerate());
    let tokens = tokens.then(move |(place, token)| async move {
        if place > 0 && !wish.pause.is_zero() {
            sleep(wish.pause).await;
        }
        token
    });
    let end = stream::once(async move {
        if wish.holds {
            std::future::pending::<()>().await;
        }
        Bytes::from(end(wish.tokens))
    });
    let events = first.chain(tokens).chain(end).map(Ok::<Bytes, Infallible>);
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

fn delta_of(place: usize) -> String {
    format!(r#"{{"content":"word{place} "}}"#)
}

/// An event as OpenAI writes it.
fn chunk(delta: &str) -> String {
    event(&format!(r#"[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}]"#), "null")
}

fn end(tokens: usize) -> String {
    let mut end = event(r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]"#, "null");
    let usage =
        format!(r#"{{"prompt_tokens":9,"completion_tokens":{tokens},"total_tokens":{}}}"#, tokens + 9);
    end.push_str(&event("[]", &usage));
    end.push_str("data: [DONE]\n\n");
    end
}

fn event(choices: &str, usage: &str) -> String {
    let mut event = String::with_capacity(320);
    // Writing to a string gives no error.
    let _ = write!(
        event,
        "data: {{\"id\":\"chatcmpl-BX4Zk3bVvS2pQ0n8mJ7tR1cLw6yE9\",\"object\":\"chat.completion.chunk\",\
         \"created\":1762000000,\"model\":\"mock\",\"service_tier\":\"default\",\
         \"system_fingerprint\":\"fp_51db84afab\",\"choices\":{choices},\"usage\":{usage}}}\n\n"
    );
    event
}
