//! A client of one connection that is kept alive, and as light as it can be: it runs on the cores that it measures.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Failure;
use crate::mock::Wish;

/// What stands before the text of each token, and in no other event.
const TOKEN: &[u8] = br#""content":"word"#;
/// What ends a body that is sent in chunks.
const END: &[u8] = b"\r\n0\r\n\r\n";

/// How long an answer took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) first_token: Duration,
    pub(crate) whole: Duration,
}

/// A connection to one server.
pub(crate) struct Client {
    stream: TcpStream,
    address: String,
    received: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, address: address.to_owned(), received: Vec::with_capacity(1 << 20) })
    }

    /// Asks for an answer and reads it up to its end.
    pub(crate) async fn ask(&mut self, wish: Wish) -> Result<Taken, Failure> {
        let begun = self.send(wish).await?;
        self.read_to(|received| contains(received, TOKEN)).await?;
        let first_token = begun.elapsed();
        self.read_to(|received| received.ends_with(END)).await?;
        let taken = Taken { first_token, whole: begun.elapsed() };
        let body = without_chunks(&self.received).ok_or("an answer is not in chunks")?;
        let tokens = body.windows(TOKEN.len()).filter(|window| *window == TOKEN).count();
        if tokens == wish.tokens && body.ends_with(b"data: [DONE]\n\n") {
            Ok(taken)
        } else {
            Err(format!("an answer of {} tokens has {tokens}", wish.tokens).into())
        }
    }

    /// Asks for an answer and reads it up to its first token.
    pub(crate) async fn open(&mut self, wish: Wish) -> Result<(), Failure> {
        self.send(wish).await?;
        self.read_to(|received| contains(received, TOKEN)).await
    }

    async fn send(&mut self, wish: Wish) -> Result<Instant, Failure> {
        let body = format!(
            r#"{{"model":"mock","stream":true,"stream_options":{{"include_usage":true}},"messages":[{{"role":"user","content":"{}"}}]}}"#,
            wish.text()
        );
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.received.clear();
        let begun = Instant::now();
        self.stream.write_all(request.as_bytes()).await?;
        Ok(begun)
    }

    async fn read_to(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> Result<(), Failure> {
        while !is_enough(&self.received) {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                let received = String::from_utf8_lossy(&self.received);
                return Err(format!("{} broke off after: {received}", self.address).into());
            }
            if !self.received.starts_with(b"HTTP/1.1 200 ") {
                let received = String::from_utf8_lossy(&self.received);
                return Err(format!("{} answered: {received}", self.address).into());
            }
        }
        Ok(())
    }
}

fn contains(received: &[u8], sought: &[u8]) -> bool {
    received.windows(sought.len()).any(|window| window == sought)
}

/// The body of an answer, put together from its chunks.
fn without_chunks(received: &[u8]) -> Option<Vec<u8>> {
    let head = received.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut rest = received.get(head + 4..)?;
    let mut body = Vec::with_capacity(rest.len());
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(rest.get(..line)?).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(line + 2..line + 2 + length)?);
        rest = rest.get(line + length + 4..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_put_together_from_its_chunks() {
        let received = b"HTTP/1.1 200 OK\r\na: b\r\n\r\n3\r\nabc\r\nb\r\ndefghijklmn\r\n0\r\n\r\n";
        assert_eq!(without_chunks(received), Some(b"abcdefghijklmn".to_vec()));
        assert_eq!(without_chunks(b"HTTP/1.1 200 OK\r\n\r\n3\r\nab"), None, "it is not whole");
    }
}
