//! Mail messages: subject, people and date, the text in one of its forms, and what is attached.

mod header;
mod transfer;

use jiff::fmt::rfc2822::DateTimeParser;
use operone_core::clock::Timestamp;
use operone_core::source::{BlockKind, Fetched, Parsed};
use operone_core::{Error, Result};

use super::assemble::{Assembly, clean, one_line};
use super::{ParseLimits, encoding, text};

use header::Part;

/// How deep parts and messages may lie in one another.
const MAX_DEPTH: usize = 20;

/// The most parts of a message.
const MAX_PARTS: usize = 1000;

/// How many attachments are read; the others are only named.
const MAX_ATTACHMENTS: usize = 20;

/// Which attachments of attachments are read: those of so many levels.
const MAX_INSIDE: usize = 3;

/// Reads a message that lies `inside` so many others. Of alternatives the plain text counts, else the page. An attached
/// document is read too, as far as that is possible; one that is not is named with the reason.
pub(super) fn parse(bytes: &[u8], limits: &ParseLimits, inside: usize) -> Result<Parsed> {
    let message = Part::read(bytes);
    let mut reading = Reading { limits, inside, parts: 0, texts: Vec::new(), attachments: Vec::new() };
    reading.read(&message, 0)?;
    let mut assembly = Assembly::new("message/rfc822", limits);
    let subject = message.header("subject").unwrap_or_default();
    assembly.set_title(Some(&subject));
    assembly.push_heading(1, &clean(&subject));
    let shown = ["from", "to", "cc", "date"];
    let head = shown.iter().filter_map(|name| {
        let value = one_line(&clean(&message.header(name)?));
        let (first, rest) = name.split_at(1);
        (!value.is_empty()).then(|| format!("{}{rest}: {value}", first.to_uppercase()))
    });
    assembly.push(BlockKind::Paragraph, &head.collect::<Vec<_>>().join("\n"));
    assembly.set_date(message.header("date").and_then(|date| moment(&date)));
    reading.texts.iter().for_each(|text| assembly.append(text, 1));
    for (name, outcome) in &reading.attachments {
        assembly.push_heading(2, &format!("Attachment: {name}"));
        match outcome {
            Outcome::Read(parsed) => assembly.append(parsed, 2),
            Outcome::NotRead(reason) => assembly.push(BlockKind::Paragraph, reason),
        }
    }
    assembly.finish()
}

fn moment(date: &str) -> Option<Timestamp> {
    // The name of the zone in brackets is a comment.
    let date = date.split('(').next().unwrap_or_default().trim();
    let parsed = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(date).ok()?;
    Some(Timestamp::from_millis(parsed.as_millisecond()))
}

enum Outcome {
    Read(Parsed),
    /// Why not.
    NotRead(String),
}

struct Reading<'a> {
    limits: &'a ParseLimits,
    inside: usize,
    parts: usize,
    texts: Vec<Parsed>,
    attachments: Vec<(String, Outcome)>,
}

impl Reading<'_> {
    fn read(&mut self, part: &Part<'_>, depth: usize) -> Result<()> {
        self.parts += 1;
        if depth > MAX_DEPTH || self.parts > MAX_PARTS {
            let detail = format!(
                "the message has more than {MAX_PARTS} parts or nests them more than {MAX_DEPTH} deep"
            );
            return Err(Error::invalid(detail).with_code("too_large"));
        }
        let kind = part.content_type();
        match kind.essence.as_str() {
            "multipart/encrypted" => Err(encrypted()),
            "application/pkcs7-mime" | "application/x-pkcs7-mime"
                if kind.get("smime-type") != Some("signed-data") =>
            {
                Err(encrypted())
            }
            "multipart/alternative" => self.read_alternative(part, depth),
            essence if essence.starts_with("multipart/") => {
                let children = part.children();
                if children.is_empty() {
                    return self.read_text(part, "text/plain");
                }
                children.iter().try_for_each(|child| self.read(child, depth + 1))
            }
            "text/plain" | "text/html" | "" if !part.is_attachment() => self.read_text(part, &kind.essence),
            _ => {
                self.attach(part);
                Ok(())
            }
        }
    }

    fn read_alternative(&mut self, part: &Part<'_>, depth: usize) -> Result<()> {
        let children = part.children();
        let is = |child: &Part<'_>, essence: &str| child.content_type().essence == essence;
        let plain = children.iter().find(|child| is(child, "text/plain") && !child.text().trim().is_empty());
        // The last is the richest, but an invitation's data is not the message.
        let rich = || {
            children.iter().rfind(|child| {
                is(child, "text/html") || child.content_type().essence.starts_with("multipart/")
            })
        };
        match plain.or_else(rich).or(children.last()) {
            Some(chosen) => self.read(chosen, depth + 1),
            None => self.read_text(part, "text/plain"),
        }
    }

    fn read_text(&mut self, part: &Part<'_>, essence: &str) -> Result<()> {
        let text = part.text();
        if text.trim().is_empty() {
            return Ok(());
        }
        let parsed = match essence {
            "text/html" => super::read_html(&text, self.limits)?,
            _ => text::parse("text/plain", &text, BlockKind::Paragraph),
        };
        self.texts.push(parsed);
        Ok(())
    }

    fn attach(&mut self, part: &Part<'_>) {
        let kind = part.content_type();
        let name = part.file_name().map(|name| one_line(&clean(&name))).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| {
            if kind.essence == "message/rfc822" { "message".into() } else { kind.essence.clone() }
        });
        let bytes = part.decoded();
        let outcome = if kind.essence.starts_with("image/") || part.is_inline_of_page() {
            // A picture in the page says nothing.
            return;
        } else if self.inside >= MAX_INSIDE || self.attachments.len() >= MAX_ATTACHMENTS {
            Outcome::NotRead(format!("{} bytes, not read: too many attachments", bytes.len()))
        } else {
            let mut document = Fetched::new(name.clone(), bytes);
            document.media_type = Some(part.header("content-type").unwrap_or_default());
            // Together they must not cost much more than one document may.
            let limits = self.limits.with_expanded(self.limits.expanded / 4);
            match super::read(&document, &limits, self.inside + 1) {
                Ok(parsed) => Outcome::Read(parsed),
                Err(error) => {
                    Outcome::NotRead(format!("{} bytes, not read: {}", document.bytes.len(), error.code()))
                }
            }
        };
        self.attachments.push((name, outcome));
    }
}

fn encrypted() -> Error {
    Error::invalid("the message is encrypted").with_code("encrypted")
}

impl Part<'_> {
    fn is_attachment(&self) -> bool {
        self.disposition().essence == "attachment"
    }

    fn is_inline_of_page(&self) -> bool {
        self.header("content-id").is_some()
            && self.disposition().essence == "inline"
            && self.content_type().essence.starts_with("image/")
    }

    fn file_name(&self) -> Option<String> {
        let name = self.disposition().get("filename").map(str::to_owned);
        name.or_else(|| self.content_type().get("name").map(str::to_owned))
    }

    /// The content without its transfer encoding.
    fn decoded(&self) -> Vec<u8> {
        match self
            .header("content-transfer-encoding")
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "base64" => transfer::base64(self.body),
            "quoted-printable" => transfer::quoted_printable(self.body, false),
            _ => self.body.to_vec(),
        }
    }

    fn text(&self) -> String {
        let kind = self.content_type();
        let bytes = self.decoded();
        let declared = kind.get("charset").map(str::to_owned);
        let declared = declared
            .or_else(|| (kind.essence == "text/html").then(|| encoding::declared_in_page(&bytes)).flatten());
        let text = encoding::decode(&bytes, declared.as_deref());
        if kind.get("format").is_some_and(|format| format.eq_ignore_ascii_case("flowed")) {
            let is_joined = kind.get("delsp").is_some_and(|value| value.eq_ignore_ascii_case("yes"));
            return transfer::flow(&text, is_joined);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str) -> Parsed {
        parse(message.replace('\n', "\r\n").as_bytes(), &ParseLimits::default(), 0).unwrap()
    }

    fn code(message: &str) -> String {
        parse(message.as_bytes(), &ParseLimits::default(), 0).unwrap_err().code().to_owned()
    }

    #[test]
    fn one_of_the_alternatives_counts_and_the_head_is_kept() {
        let parsed = read(
            "Date: Fri, 16 Dec 2022 17:04:16 -0500 (EST)\nSubject: =?utf-8?Q?K=C3=B6ln?= =?utf-8?B?IMO8YmVy?=\n\
             From: =?iso-8859-1?Q?J=F6rg?= <j@x.de>\nTo: a@b.c,\n d@e.f\nMIME-Version: 1.0\n\
             Content-Type: multipart/alternative; boundary=\"b 1\"\n\nno mail program\n--b 1\nContent-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=\n=C3=9Fe\n--b 1\nContent-Type: text/html\n\n<p>Other</p>\n--b 1--\nend",
        );
        assert_eq!(
            parsed.text,
            "Köln über\n\nFrom: Jörg <j@x.de>\nTo: a@b.c, d@e.f\nDate: Fri, 16 Dec 2022 17:04:16 -0500 (EST)\n\nGrüße"
        );
        assert_eq!(parsed.title.as_deref(), Some("Köln über"));
        assert_eq!(parsed.date.unwrap().to_string(), "2022-12-16T22:04:16Z");
        assert_eq!(parsed.headings[0].title, "Köln über");
    }

    #[test]
    fn attachments_are_named_and_read() {
        let parsed = read(
            "Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nHello\n--b\nContent-Type: text/csv; name=\"t.csv\"\n\
             Content-Disposition: attachment; filename*0*=utf-8''%C3%BCber; filename*1=.csv\nContent-Transfer-Encoding: base64\n\n\
             YSxiCjEsMgozLDQK\n--b\nContent-Type: application/zip\nContent-Disposition: attachment; filename=x.zip\n\nPK\n--b\n\
             Content-Type: message/rfc822\n\nSubject: inner\nFrom: x@y.z\nMIME-Version: 1.0\n\nDeep\n--b--",
        );
        assert_eq!(
            parsed.text,
            "s\n\nHello\n\nAttachment: über.csv\n\na | b\na: 1 | b: 2\na: 3 | b: 4\n\nAttachment: x.zip\n\nPK\n\n\
             Attachment: message\n\ninner\n\nFrom: x@y.z\n\nDeep"
        );
        let levels: Vec<u8> = parsed.headings.iter().map(|heading| heading.level).collect();
        assert_eq!(levels, [1, 2, 2, 2, 3]);
    }

    #[test]
    fn hostile_and_encrypted_messages_are_refused() {
        assert_eq!(
            code("Subject: x\nContent-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b--"),
            "encrypted"
        );
        assert_eq!(
            code("Subject: x\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nx"),
            "encrypted"
        );
        let mut deep = String::from("Subject: x\n");
        for level in 0..1000 {
            deep.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n"));
        }
        assert_eq!(code(&deep), "too_large");
        let many =
            format!("Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(5000));
        assert_eq!(code(&many), "too_large");
        assert_eq!(read("Subject: x\nContent-Type: multipart/mixed\n\nno boundary").text, "x\n\nno boundary");
    }

    #[test]
    fn flowed_lines_are_joined() {
        let parsed = read("Subject: x\nContent-Type: text/plain; format=flowed\n\none \ntwo\n-- \nthree");
        assert_eq!(parsed.text, "x\n\none two\n-- \nthree");
    }
}
