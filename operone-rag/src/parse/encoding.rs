//! Bytes of a text to characters: by mark, by declaration, else by guess.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::Encoding;

/// The text of `bytes`. A byte order mark decides, then UTF-8 if the bytes are that, then the declared encoding,
/// then a guess from the bytes. What cannot be decoded becomes U+FFFD.
pub(super) fn decode(bytes: &[u8], declared: Option<&str>) -> String {
    if let Some(text) = decode_marked(bytes) {
        return text;
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let declared = declared.and_then(|label| Encoding::for_label(label.trim().as_bytes()));
    let encoding = declared.unwrap_or_else(|| {
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
        detector.feed(bytes, true);
        detector.guess(None, Utf8Detection::Allow)
    });
    encoding.decode_without_bom_handling(bytes).0.into_owned()
}

/// Whether the bytes begin with the mark of a Unicode encoding.
pub(super) fn is_marked(bytes: &[u8]) -> bool {
    mark(bytes).is_some()
}

#[derive(Clone, Copy)]
enum Mark {
    Utf8,
    Utf16(&'static Encoding),
    Utf32(fn([u8; 4]) -> u32),
}

fn mark(bytes: &[u8]) -> Option<(Mark, usize)> {
    // The mark of UTF-32 begins with that of UTF-16, so the longer ones come first.
    match bytes {
        [0xFF, 0xFE, 0, 0, ..] => Some((Mark::Utf32(u32::from_le_bytes), 4)),
        [0, 0, 0xFE, 0xFF, ..] => Some((Mark::Utf32(u32::from_be_bytes), 4)),
        [0xEF, 0xBB, 0xBF, ..] => Some((Mark::Utf8, 3)),
        [0xFF, 0xFE, ..] => Some((Mark::Utf16(encoding_rs::UTF_16LE), 2)),
        [0xFE, 0xFF, ..] => Some((Mark::Utf16(encoding_rs::UTF_16BE), 2)),
        _ => None,
    }
}

fn decode_marked(bytes: &[u8]) -> Option<String> {
    let (mark, length) = mark(bytes)?;
    let rest = bytes.get(length..)?;
    Some(match mark {
        Mark::Utf8 => String::from_utf8_lossy(rest).into_owned(),
        Mark::Utf16(encoding) => encoding.decode_without_bom_handling(rest).0.into_owned(),
        Mark::Utf32(number) => rest
            .as_chunks::<4>()
            .0
            .iter()
            .map(|unit| char::from_u32(number(*unit)).unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_decide_the_longer_first() {
        let units = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        assert_eq!(decode(&[&[0xFF, 0xFE][..], &units("Größe 🙂")].concat(), None), "Größe 🙂");
        let wide: Vec<u8> = "Größe 🙂".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        assert_eq!(decode(&[&[0xFF, 0xFE, 0, 0][..], &wide].concat(), None), "Größe 🙂");
        let wide: Vec<u8> = "aé".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        assert_eq!(decode(&[&[0, 0, 0xFE, 0xFF][..], &wide].concat(), None), "aé");
        assert_eq!(decode(b"\xEF\xBB\xBFabc", Some("utf-16")), "abc");
    }

    #[test]
    fn a_declaration_comes_before_a_guess() {
        let bytes = b"na\xEFve caf\xE9, 15 \x80";
        assert_eq!(decode(bytes, None), "naïve café, 15 €");
        assert_eq!(decode(b"\xD0\xDE", Some("iso-8859-5")), "ах".replace("ах", "\u{430}\u{43E}"));
        assert_eq!(decode("schön".as_bytes(), Some("windows-1252")), "schön");
    }
}
