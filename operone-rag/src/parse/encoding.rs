//! Bytes of a text to characters: by mark, by declaration, else by guess.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::Encoding;

/// How many bytes are looked at to find out whether they are wide units.
const SAMPLE: usize = 8192;

/// The text of `bytes`. A byte order mark decides, then the pattern of UTF-16 and UTF-32, then UTF-8 if the bytes are
/// that but for a few, then the declared encoding, then a guess from the bytes. What cannot be decoded becomes U+FFFD.
pub(super) fn decode(bytes: &[u8], declared: Option<&str>) -> String {
    if let Some((unit, length)) = mark(bytes).or_else(|| wide(bytes).map(|unit| (unit, 0))) {
        return decode_units(unit, bytes.get(length..).unwrap_or_default());
    }
    if bytes.windows(2).any(|pair| pair == b"\x1b$" || pair == b"\x1b(")
        && let Some(text) =
            encoding_rs::ISO_2022_JP.decode_without_bom_handling_and_without_replacement(bytes)
    {
        return text.into_owned();
    }
    if let Some(text) = decode_utf8(bytes) {
        return text;
    }
    let declared = declared.and_then(|label| Encoding::for_label(label.trim().as_bytes()));
    let encoding = declared.unwrap_or_else(|| {
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
        detector.feed(bytes, true);
        detector.guess(None, Utf8Detection::Allow)
    });
    encoding.decode_without_bom_handling(bytes).0.into_owned()
}

/// The text if it is UTF-8, or was before a few of its bytes were damaged.
fn decode_utf8(bytes: &[u8]) -> Option<String> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(text.to_owned());
    }
    let (mut damaged, mut letters) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        damaged += usize::from(!chunk.invalid().is_empty());
        letters += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
    }
    (letters > damaged * 20).then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// The text of an XML part, without a copy where it is UTF-8 as nearly all are.
#[cfg(feature = "office")]
pub(super) fn decode_xml(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let bytes = error.into_bytes();
        decode(&bytes, declared_in_xml(&bytes).as_deref())
    })
}

#[cfg(feature = "office")]
fn declared_in_xml(bytes: &[u8]) -> Option<String> {
    let begin = String::from_utf8_lossy(bytes.get(..200)?).into_owned();
    let (declaration, _) = begin.strip_prefix("<?xml")?.split_once("?>")?;
    let (_, encoding) = declaration.split_once("encoding=")?;
    encoding.get(1..)?.split(['"', '\'']).next().map(str::to_owned)
}

/// The character set that a page declares in its first bytes.
pub(super) fn declared_in_page(bytes: &[u8]) -> Option<String> {
    let begin = String::from_utf8_lossy(bytes.get(..4096).unwrap_or(bytes)).to_ascii_lowercase();
    let declared = begin.split("<meta").skip(1).chain(begin.strip_prefix("<?xml")).find_map(|element| {
        let (element, _) = element.split_once('>')?;
        let (_, value) = element.split_once("charset=").or_else(|| element.split_once("encoding="))?;
        Some(value.trim_start_matches(['"', '\'', ' ']).to_owned())
    })?;
    let end =
        declared.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:.".contains(c))).unwrap_or(declared.len());
    declared.get(..end).map(str::to_owned)
}

/// Whether the bytes are UTF-16 or UTF-32, or begin with the mark of a Unicode encoding.
pub(super) fn is_unicode(bytes: &[u8]) -> bool {
    mark(bytes).is_some() || wide(bytes).is_some()
}

#[derive(Clone, Copy)]
enum Unit {
    Utf8,
    Utf16(&'static Encoding),
    Utf32(fn([u8; 4]) -> u32),
}

fn mark(bytes: &[u8]) -> Option<(Unit, usize)> {
    // The mark of UTF-32 begins with that of UTF-16, so the longer ones come first.
    match bytes {
        [0xFF, 0xFE, 0, 0, ..] => Some((Unit::Utf32(u32::from_le_bytes), 4)),
        [0, 0, 0xFE, 0xFF, ..] => Some((Unit::Utf32(u32::from_be_bytes), 4)),
        [0xEF, 0xBB, 0xBF, ..] => Some((Unit::Utf8, 3)),
        [0xFF, 0xFE, ..] => Some((Unit::Utf16(encoding_rs::UTF_16LE), 2)),
        [0xFE, 0xFF, ..] => Some((Unit::Utf16(encoding_rs::UTF_16BE), 2)),
        _ => None,
    }
}

/// UTF-16 or UTF-32 without a mark: such a text has zero bytes, since its white space has, and as units of this width
/// it is nothing but letters, signs and white space.
fn wide(bytes: &[u8]) -> Option<Unit> {
    let sample = bytes.get(..SAMPLE).unwrap_or(bytes);
    if !sample.contains(&0) {
        return None;
    }
    let units = [
        Unit::Utf32(u32::from_le_bytes),
        Unit::Utf32(u32::from_be_bytes),
        Unit::Utf16(encoding_rs::UTF_16LE),
        Unit::Utf16(encoding_rs::UTF_16BE),
    ];
    let plain = |unit: &Unit| {
        let text = decode_units(*unit, sample);
        let (mut all, mut known, mut ascii) = (0_usize, 0_usize, 0_usize);
        for c in text.chars() {
            all += 1;
            ascii += usize::from(c.is_ascii_alphanumeric() || c.is_ascii_whitespace());
            let is_sign = c.is_ascii_punctuation()
                || matches!(c, '\u{a0}'..='\u{bf}' | '\u{2010}'..='\u{205e}' | '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ffef}');
            known += usize::from(is_sign || c.is_alphanumeric() || matches!(c, ' ' | '\t' | '\r' | '\n'));
        }
        // A unit may be cut off at the end of the sample; marks above letters are rarer than letters.
        (known > 0 && (all - known) * 10 <= all && ascii * 50 >= all && !text.contains(|c: char| c < '\t'))
            .then_some(ascii)
    };
    units
        .into_iter()
        .filter_map(|unit| Some((plain(&unit)?, unit)))
        .filter(|(ascii, _)| *ascii > 1)
        .max_by_key(|(ascii, _)| *ascii)
        .map(|(_, unit)| unit)
}

fn decode_units(unit: Unit, bytes: &[u8]) -> String {
    match unit {
        Unit::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
        Unit::Utf16(encoding) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
        Unit::Utf32(number) => bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|unit| char::from_u32(number(*unit)).unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
    }
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

    #[test]
    fn pages_declare_their_character_set() {
        let declared = |page: &str| declared_in_page(page.as_bytes());
        assert_eq!(declared("<meta charset=\"iso-8859-5\"><p>").as_deref(), Some("iso-8859-5"));
        let old = "<meta http-equiv=x content='text/html; charset=windows-1251'><p>";
        assert_eq!(declared(old).as_deref(), Some("windows-1251"));
        assert_eq!(declared("<?xml version='1.0' encoding='utf-8'?><html>").as_deref(), Some("utf-8"));
        assert_eq!(declared("<p>charset=x</p>"), None);
    }

    /// A text in a language and the encodings that are in use for it.
    const LEGACY: [(&str, &[&str]); 14] = [
        (
            "Viele Grüße aus München: die Straßen sind voll, und für 15 € gibt es schöne Äpfel. Nächste Woche fährt Jörg über die Brücke.",
            &["windows-1252"],
        ),
        (
            "La forêt était déjà très élégante; où êtes-vous allé cet été, à côté de la gare où le garçon a mangé ?",
            &["iso-8859-1", "windows-1252"],
        ),
        (
            "Příliš žluťoučký kůň úpěl ďábelské ódy. Dnes je krásný den a všichni jsou spokojeni se svou prací.",
            &["iso-8859-2", "windows-1250"],
        ),
        (
            "Zażółć gęślą jaźń, a potem idź do sklepu po chleb i mleko, bo jutro będzie święto i wszystko zamknięte.",
            &["iso-8859-2", "windows-1250"],
        ),
        (
            "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью.",
            &["windows-1251", "koi8-r", "iso-8859-5", "ibm866"],
        ),
        (
            "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
            &["windows-1253", "iso-8859-7"],
        ),
        (
            "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler ve birbirlerine karşı kardeşlik.",
            &["windows-1254"],
        ),
        (
            "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון.",
            &["windows-1255", "iso-8859-8"],
        ),
        (
            "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا.",
            &["windows-1256", "iso-8859-6"],
        ),
        ("Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.", &[]),
        (
            "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
            &["shift_jis", "euc-jp", "iso-2022-jp"],
        ),
        (
            "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
            &["gb18030", "gbk"],
        ),
        ("人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，並應以兄弟關係的精神相對待。", &["big5"]),
        ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", &["euc-kr"]),
    ];

    #[test]
    fn legacy_encodings_are_found_without_a_declaration() {
        for (text, labels) in LEGACY {
            for label in labels {
                let encoding = Encoding::for_label(label.as_bytes()).unwrap();
                let (bytes, _, unmappable) = encoding.encode(text);
                assert!(!unmappable, "{label}: {text}");
                assert_eq!(decode(&bytes, Some(label)), text, "{label}, declared");
                assert_eq!(decode(&bytes, None), text, "{label}, guessed");
            }
        }
    }

    #[test]
    fn wide_units_need_no_mark() {
        for (text, _) in LEGACY {
            let text = format!("{text}\n1 {text}");
            let units: Vec<u16> = text.encode_utf16().collect();
            let forms: [Vec<u8>; 4] = [
                units.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
                units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
                text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(),
                text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect(),
            ];
            for bytes in forms {
                assert!(is_unicode(&bytes));
                assert_eq!(decode(&bytes, None), text);
            }
        }
        assert!(!is_unicode(b"abc\0\x01\x02def\0\0\0\x05"));
    }

    #[test]
    fn a_few_damaged_bytes_do_not_make_it_another_encoding() {
        let bytes = ["Größe und Übermaß ".repeat(20).as_bytes(), b"\xFF", "schöne Grüße".as_bytes()].concat();
        assert!(decode(&bytes, None).ends_with("\u{fffd}schöne Grüße"));
    }
}
