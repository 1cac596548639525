//! Cuts a stream of bytes into server-sent events, wherever the bytes are split.

use std::borrow::Cow;

use memchr::memchr;
use operone_core::Result;

use crate::error::protocol;
use crate::reading::no_text;

/// The longest line and the longest event, in bytes.
const MAX_LENGTH: usize = 1024 * 1024;

/// Reads bytes and gives the data of each event; copies only what is not whole yet.
#[derive(Debug, Default)]
pub(crate) struct SseDecoder {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// The data lines of the event that has not ended yet.
    data: Option<String>,
    begun: bool,
}

impl SseDecoder {
    /// The data of the next event that the bytes complete. Takes what it read from `rest`: all of it, where no event
    /// is complete any more.
    pub(crate) fn next<'a>(&mut self, rest: &mut &'a [u8]) -> Result<Option<Cow<'a, str>>> {
        let mut data = self.data.take().map(Cow::Owned);
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            *rest = after.get(1..).unwrap_or_default();
            // A line that came whole, as nearly all do, is read where it lies.
            let line = if self.line.is_empty() {
                within_limit(line.len())?;
                self.read(line)?.map(Cow::Borrowed)
            } else {
                self.keep(line)?;
                let line = std::mem::take(&mut self.line);
                self.read(&line)?.map(|value| Cow::Owned(value.to_owned()))
            };
            match line {
                Line::Blank if data.is_some() => return Ok(data),
                Line::Blank | Line::Other => {}
                Line::Data(value) => match &mut data {
                    Some(data) if data.len() + value.len() >= MAX_LENGTH => {
                        return Err(protocol("an event of the answer is longer than 1 MiB"));
                    }
                    Some(data) => {
                        let data = data.to_mut();
                        data.push('\n');
                        data.push_str(&value);
                    }
                    None => data = Some(value),
                },
            }
        }
        self.data = data.map(Cow::into_owned);
        self.keep(std::mem::take(rest))?;
        Ok(None)
    }

    /// The stream has ended: an event whose blank line is missing counts all the same.
    pub(crate) fn finish(&mut self) -> Result<Option<String>> {
        if !self.line.is_empty()
            && let Some(data) = self.next(&mut b"\n".as_slice())?
        {
            return Ok(Some(data.into_owned()));
        }
        Ok(self.data.take())
    }

    /// Keeps the begin of a line, or more of it.
    fn keep(&mut self, bytes: &[u8]) -> Result<()> {
        within_limit(self.line.len() + bytes.len())?;
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn read<'a>(&mut self, line: &'a [u8]) -> Result<Line<&'a str>> {
        let line = std::str::from_utf8(line).map_err(|_| no_text())?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let line = if self.begun { line } else { line.strip_prefix('\u{feff}').unwrap_or(line) };
        self.begun = true;
        Ok(match line.strip_prefix("data:") {
            Some(value) => Line::Data(value.strip_prefix(' ').unwrap_or(value)),
            None if line.is_empty() => Line::Blank,
            None => Line::Other,
        })
    }
}

/// What a line is.
enum Line<T> {
    Blank,
    Data(T),
    Other,
}

impl<T> Line<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Line<U> {
        match self {
            Self::Data(value) => Line::Data(change(value)),
            Self::Blank => Line::Blank,
            Self::Other => Line::Other,
        }
    }
}

fn within_limit(length: usize) -> Result<()> {
    if length > MAX_LENGTH { Err(protocol("a line of the answer is longer than 1 MiB")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], piece: usize) -> Vec<String> {
        let (mut decoder, mut events) = (SseDecoder::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            events.extend(push(&mut decoder, piece).unwrap());
        }
        events.extend(decoder.finish().unwrap());
        events
    }

    fn push(decoder: &mut SseDecoder, mut bytes: &[u8]) -> Result<Vec<String>> {
        let mut events = Vec::new();
        while let Some(data) = decoder.next(&mut bytes)? {
            events.push(data.into_owned());
        }
        assert!(bytes.is_empty(), "all of it is read");
        Ok(events)
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_split() {
        let stream = "\u{feff}: a comment\r\ndata: {\"ü\":\"🗼\"}\r\n\r\nevent: x\nid: 7\ndata:one\ndata: two\n\n\
            :ping\n\ndata: [DONE]";
        for piece in [1, 2, 3, 5, 7, 64, 4096] {
            assert_eq!(decode(stream.as_bytes(), piece), ["{\"ü\":\"🗼\"}", "one\ntwo", "[DONE]"], "{piece}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let pushed = push(&mut SseDecoder::default(), b"data: a\xff\xfe\n\n");
        assert_eq!(pushed.unwrap_err().code(), "model_protocol_error");
    }

    #[test]
    fn a_line_or_event_without_end_is_refused() {
        let mut decoder = SseDecoder::default();
        let piece = vec![b'x'; 4096];
        let refused = (0..1000).find_map(|_| push(&mut decoder, &piece).err()).unwrap();
        assert_eq!(refused.code(), "model_protocol_error");
        let line = [b"data:".as_slice(), &piece, b"\n"].concat();
        let mut decoder = SseDecoder::default();
        assert!((0..1000).any(|_| push(&mut decoder, &line).is_err()));
    }
}
