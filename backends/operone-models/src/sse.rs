//! Cuts a stream of bytes into server-sent events, wherever the bytes are split.

use operone_core::Result;

use crate::error::protocol;
use crate::reading::no_text;

/// The longest line and the longest event, in bytes.
const MAX_LENGTH: usize = 1024 * 1024;

/// Collects bytes and gives the data of each event.
#[derive(Debug, Default)]
pub(crate) struct SseDecoder {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// The data lines of the event that has not ended yet.
    data: Option<String>,
    begun: bool,
}

impl SseDecoder {
    /// Takes more bytes and adds the data of the events that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8], events: &mut Vec<String>) -> Result<()> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            self.extend_line(line)?;
            self.end_line(events)?;
            rest = after.get(1..).unwrap_or_default();
        }
        self.extend_line(rest)
    }

    /// The stream has ended: an event whose blank line is missing counts all the same.
    pub(crate) fn finish(&mut self, events: &mut Vec<String>) -> Result<()> {
        if !self.line.is_empty() {
            self.end_line(events)?;
        }
        events.extend(self.data.take());
        Ok(())
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<()> {
        if self.line.len() + bytes.len() > MAX_LENGTH {
            return Err(protocol("a line of the answer is longer than 1 MiB"));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<String>) -> Result<()> {
        let bytes = std::mem::take(&mut self.line);
        let line = std::str::from_utf8(&bytes).map_err(|_| no_text())?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let line = if self.begun { line } else { line.strip_prefix('\u{feff}').unwrap_or(line) };
        self.begun = true;
        if line.is_empty() {
            events.extend(self.data.take());
        } else if let Some(value) = line.strip_prefix("data:") {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) if data.len() + value.len() >= MAX_LENGTH => {
                    return Err(protocol("an event of the answer is longer than 1 MiB"));
                }
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], piece: usize) -> Vec<String> {
        let (mut decoder, mut events) = (SseDecoder::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            decoder.push(piece, &mut events).unwrap();
        }
        decoder.finish(&mut events).unwrap();
        events
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
        let pushed = SseDecoder::default().push(b"data: a\xff\xfe\n\n", &mut Vec::new());
        assert_eq!(pushed.unwrap_err().code(), "model_protocol_error");
    }

    #[test]
    fn a_line_or_event_without_end_is_refused() {
        let (mut decoder, mut events) = (SseDecoder::default(), Vec::new());
        let piece = vec![b'x'; 4096];
        let refused = (0..1000).find_map(|_| decoder.push(&piece, &mut events).err()).unwrap();
        assert_eq!(refused.code(), "model_protocol_error");
        let line = [b"data:".as_slice(), &piece, b"\n"].concat();
        let (mut decoder, mut events) = (SseDecoder::default(), Vec::new());
        assert!((0..1000).any(|_| decoder.push(&line, &mut events).is_err()));
    }
}
