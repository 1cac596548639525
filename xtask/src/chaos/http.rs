//! As much HTTP as the harness needs: one request per connection, on both sides.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long either side may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// Answers each request by `answer`, which is given the path and the body, with a content type and a body. Gives the address.
pub(crate) fn serve(
    answer: impl Fn(&Value) -> Option<(&'static str, String)> + Clone + Send + 'static,
) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            // Who asked may be killed at any moment.
            std::thread::spawn(move || drop(respond(connection, &answer)));
        }
    });
    Ok(address)
}

fn respond(
    mut connection: TcpStream,
    answer: &impl Fn(&Value) -> Option<(&'static str, String)>,
) -> Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let (_, headers) = read_head(&mut reader)?;
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let head = match answer(&body) {
        Some((kind, body)) => {
            format!(
                "200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
        }
        None => "202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
    };
    connection.write_all(format!("HTTP/1.1 {head}").as_bytes())
}

/// Sends a request and gives the status and the JSON that was answered.
pub(crate) fn request(
    address: &str,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: Option<&Value>,
) -> Result<(u16, Value)> {
    let key = key.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
    let mut reader = open(address, method, path, &key, body)?;
    let (line, headers) = read_head(&mut reader)?;
    let mut text = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
        while let Some(chunk) = read_chunk(&mut reader)? {
            text.extend(chunk);
        }
    } else if let Some(length) = headers.get("content-length").and_then(|length| length.parse().ok()) {
        text.resize(length, 0);
        reader.read_exact(&mut text)?;
    }
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Error::new(ErrorKind::InvalidData, "no status"))?;
    Ok((status, serde_json::from_slice(&text).unwrap_or(Value::Null)))
}

/// An event as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// Reads a stream of events from behind an id on; `take` says whether to go on.
pub(crate) fn follow(
    address: &str,
    path: &str,
    last_id: Option<&str>,
    mut take: impl FnMut(Event) -> bool,
) -> Result<()> {
    let last = last_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
    let mut reader = open(address, "GET", path, &last, None)?;
    let (line, _) = read_head(&mut reader)?;
    if !line.contains(" 200 ") {
        return Err(Error::new(ErrorKind::InvalidData, line));
    }
    let mut text = String::new();
    while let Some(chunk) = read_chunk(&mut reader)? {
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((block, rest)) = text.split_once("\n\n") {
            let field = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_default().trim_start().to_owned()
            };
            let (id, name, data) = (field("id:"), field("event:"), field("data:"));
            text = rest.to_owned();
            if !data.is_empty() {
                let data = serde_json::from_str(&data).unwrap_or(Value::Null);
                if !take(Event { id, name, data }) {
                    return Ok(());
                }
            }
        }
    }
    Err(Error::new(ErrorKind::UnexpectedEof, "the stream was cut"))
}

fn open(
    address: &str,
    method: &str,
    path: &str,
    headers: &str,
    body: Option<&Value>,
) -> Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}");
    let body = body.map(Value::to_string);
    if let Some(body) = &body {
        head += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    stream.write_all(format!("{head}\r\n{}", body.unwrap_or_default()).as_bytes())?;
    Ok(BufReader::new(stream))
}

fn read_head(reader: &mut impl BufRead) -> Result<(String, HashMap<String, String>)> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Err(Error::new(ErrorKind::UnexpectedEof, "no answer"));
    }
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => return Ok((first.trim_end().to_owned(), headers)),
        };
    }
}

fn read_chunk(reader: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let length = usize::from_str_radix(line.trim(), 16);
    let length = length.map_err(|_| Error::new(ErrorKind::UnexpectedEof, "the answer was cut"))?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk)?;
    chunk.truncate(length);
    Ok((length > 0).then_some(chunk))
}
