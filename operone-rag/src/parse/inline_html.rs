//! HTML inside Markdown: leaves out comments and tags, and keeps what stands between them.

/// The elements whose tags are left out; anything else in angle brackets is text.
const ELEMENTS: [&str; 46] = [
    "a",
    "abbr",
    "b",
    "blockquote",
    "br",
    "center",
    "code",
    "dd",
    "del",
    "details",
    "div",
    "dl",
    "dt",
    "em",
    "font",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "ol",
    "p",
    "picture",
    "pre",
    "s",
    "small",
    "source",
    "span",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
];

/// The longest tag, and the longest code within a line, in bytes.
const MAX_TAG: usize = 4096;

/// The text without comments and tags; code is kept as it is.
pub(super) fn strip(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    let mut at_line_start = true;
    // Looked for once only, so that the time stays linear.
    let mut comments_end = true;
    while !rest.is_empty() {
        let fenced = if at_line_start { fenced_length(rest) } else { None };
        let (keep, skip) = match (fenced, rest.as_bytes().first()) {
            (Some(length), _) => (length, length),
            (None, Some(b'`')) => (code_length(rest), code_length(rest)),
            (None, Some(b'<')) if comments_end && rest.starts_with("<!--") => match rest.find("-->") {
                Some(end) => (0, end + 3),
                None => {
                    comments_end = false;
                    (4, 4)
                }
            },
            (None, Some(b'<')) => tag_length(rest).map_or((1, 1), |tag| (0, tag)),
            (None, _) => {
                let plain = rest.find(['<', '`', '\n']).map_or(rest.len(), |end| end.max(1));
                (plain, plain)
            }
        };
        kept.push_str(rest.get(..keep).unwrap_or_default());
        at_line_start = rest.get(..skip).is_some_and(|passed| passed.ends_with('\n'));
        rest = rest.get(skip..).unwrap_or_default();
    }
    kept
}

/// How long the fenced code is that begins with this line; without an end it goes on to the end of the text.
fn fenced_length(text: &str) -> Option<usize> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next()?;
    let mark = ["```", "~~~"].into_iter().find(|mark| first.trim_start().starts_with(mark))?;
    let mut length = first.len();
    for line in lines {
        length += line.len();
        if line.trim_start().starts_with(mark) {
            break;
        }
    }
    Some(length)
}

/// How long the code is that begins with the text: to the same number of marks in the same paragraph, else the marks
/// alone.
fn code_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let run = |at: usize| bytes.iter().skip(at).take_while(|byte| **byte == b'`').count();
    let marks = run(0);
    let near = bytes.get(..MAX_TAG).unwrap_or(bytes);
    let paragraph = near.windows(2).position(|pair| pair == b"\n\n").unwrap_or(near.len());
    let mut at = marks;
    while let Some(next) = near.get(at..paragraph).and_then(|rest| rest.iter().position(|byte| *byte == b'`'))
    {
        let length = run(at + next);
        at += next + length;
        if length == marks {
            return at;
        }
    }
    marks
}

fn tag_length(text: &str) -> Option<usize> {
    let name = text.strip_prefix('<')?;
    let name = name.strip_prefix('/').unwrap_or(name);
    let length = name.find(|c: char| !c.is_ascii_alphanumeric())?;
    let element = name.get(..length)?.to_ascii_lowercase();
    if ELEMENTS.binary_search(&element.as_str()).is_err() {
        return None;
    }
    let end = text.bytes().take(MAX_TAG).position(|byte| byte == b'>')?;
    Some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_in_order() {
        assert!(ELEMENTS.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn tags_and_comments_go_and_code_stays() {
        assert_eq!(
            strip("<h1 align=\"center\">Title</h1><br/> x < y <T> <!-- no\nno --> <img\n src=x> end"),
            "Title x < y <T>   end"
        );
        assert_eq!(strip("`<b>` and ``<b>`</b>`` <b>bold</b>"), "`<b>` and ``<b>`</b>`` bold");
        assert_eq!(strip("```\n<b>\n```\n<b>"), "```\n<b>\n```\n");
    }
}
