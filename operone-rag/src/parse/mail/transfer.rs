//! The encodings by which mail carries bytes and words in plain letters.

use super::super::encoding::decode;

/// Base64; what does not belong to it is left out.
pub(super) fn base64(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                // The end, though some programs go on with another piece.
                (bits, count) = (0, 0);
                continue;
            }
            _ => continue,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xFF) as u8);
        }
    }
    bytes
}

/// Quoted-printable; in an encoded word (`in_word`) an underscore is a space. A wrong escape stays as it is.
pub(super) fn quoted_printable(text: &[u8], in_word: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'=', [b'\r', b'\n', after @ ..] | [b'\n', after @ ..]) => after,
            (b'=', [high, low, after @ ..]) if let Some(byte) = hexadecimal(*high, *low) => {
                bytes.push(byte);
                after
            }
            (b'_', _) if in_word => {
                bytes.push(b' ');
                after
            }
            (byte, _) => {
                bytes.push(*byte);
                after
            }
        };
    }
    bytes
}

fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// A header's value with its encoded words decoded; white space between two of them is none.
pub(super) fn encoded_words(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    // Bytes of one character may be divided among words of one character set.
    let mut pending: Option<(String, Vec<u8>)> = None;
    let mut rest = value;
    while let Some(at) = rest.find("=?") {
        let (before, word) = rest.split_at(at);
        let Some((charset, bytes, after)) = encoded_word(word) else {
            flush(&mut pending, &mut text);
            text.push_str(rest.get(..at + 2).unwrap_or_default());
            rest = rest.get(at + 2..).unwrap_or_default();
            continue;
        };
        if !(pending.is_some() && before.trim().is_empty()) {
            flush(&mut pending, &mut text);
            text.push_str(before);
        }
        match &mut pending {
            Some((same, so_far)) if same.eq_ignore_ascii_case(charset) => so_far.extend(bytes),
            _ => {
                flush(&mut pending, &mut text);
                pending = Some((charset.to_owned(), bytes));
            }
        }
        rest = after;
    }
    flush(&mut pending, &mut text);
    text.push_str(rest);
    text
}

fn flush(pending: &mut Option<(String, Vec<u8>)>, text: &mut String) {
    if let Some((charset, bytes)) = pending.take() {
        text.push_str(&decode(&bytes, Some(&charset)));
    }
}

/// The character set, the bytes and what follows of a text that begins with an encoded word.
fn encoded_word(text: &str) -> Option<(&str, Vec<u8>, &str)> {
    let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (content, after) = rest.split_once("?=")?;
    // A language may follow the character set.
    let charset = charset.split('*').next()?;
    let bytes = match encoding {
        "B" | "b" => base64(content.as_bytes()),
        "Q" | "q" => quoted_printable(content.as_bytes(), true),
        _ => return None,
    };
    (!content.contains('\n')).then_some((charset, bytes, after))
}

/// Joins the lines that end with a space to the next, but for the one above a signature. With `is_joined` the space
/// itself is not part of the text.
pub(super) fn flow(text: &str, is_joined: bool) -> String {
    let mut flowed = String::with_capacity(text.len());
    for line in text.lines() {
        // A space that was put in front so that the line does not look like something else.
        let line = line.strip_prefix(' ').unwrap_or(line);
        if line.ends_with(' ') && line != "-- " && !line.starts_with('>') {
            flowed.push_str(if is_joined { line.strip_suffix(' ').unwrap_or(line) } else { line });
        } else {
            flowed.push_str(line);
            flowed.push('\n');
        }
    }
    flowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_quoted_printable_are_read_leniently() {
        assert_eq!(base64(b"SGVs\r\nbG8="), b"Hello");
        assert_eq!(base64(b"SGVsbG8"), b"Hello");
        assert_eq!(quoted_printable(b"a=3Db=\r\nc_=ZZ =", false), b"a=bc_=ZZ =");
    }

    #[test]
    fn words_in_headers() {
        assert_eq!(encoded_words("=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?= x"), "日本 x");
        assert_eq!(encoded_words("a =?utf-8?Q?=C3?= =?utf-8?Q?=BC?= b"), "a ü b");
        assert_eq!(encoded_words("=?utf-8*de?q?a_b?="), "a b");
        assert_eq!(encoded_words("=?utf-8?X?a?= =? 1 =?2"), "=?utf-8?X?a?= =? 1 =?2");
    }
}
