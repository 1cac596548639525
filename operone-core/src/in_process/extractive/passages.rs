//! Reads what the tools gave back: texts with their sources, and failures.

use serde_json::Value;

use crate::model::Message;

/// What a conversation holds of tool results.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) passages: Vec<Passage>,
    pub(super) failures: Vec<Failure>,
    results: usize,
}

impl Found {
    /// Whether no tool has answered yet.
    pub(super) fn is_empty(&self) -> bool {
        self.results == 0
    }
}

/// A text and where it is from.
#[derive(Debug)]
pub(super) struct Passage {
    pub(super) text: String,
    pub(super) source: String,
    pub(super) is_file: bool,
}

/// A tool that failed.
#[derive(Debug, PartialEq)]
pub(super) struct Failure {
    tool: String,
    code: String,
    detail: String,
}

impl Failure {
    pub(super) fn sentence(&self) -> String {
        let detail: String = self.detail.trim_end_matches('.').chars().take(200).collect();
        format!("{} failed: {detail} ({}).", self.tool, self.code)
    }
}

/// Reads the tool results among the messages, in order.
pub(super) fn read(messages: &[Message]) -> Found {
    let mut found = Found::default();
    for message in messages {
        if let Message::Tool { call_id, name, content } = message {
            found.results += 1;
            match parse(content) {
                Some(value) => read_json(name, &value, || argument(messages, call_id, "path"), &mut found),
                None => found.passages.push(passage(content, name, false)),
            }
        }
    }
    found
}

fn read_json(tool: &str, value: &Value, path: impl Fn() -> Option<String>, found: &mut Found) {
    if let Some(error) = value.get("error").filter(|error| error.is_object()) {
        let failure = Failure {
            tool: tool.to_owned(),
            code: text(error, "code").unwrap_or("error").to_owned(),
            detail: text(error, "detail").unwrap_or("it does not say why").to_owned(),
        };
        if !found.failures.contains(&failure) {
            found.failures.push(failure);
        }
    } else if let Some(results) = value.get("results").and_then(Value::as_array) {
        found.passages.extend(results.iter().filter_map(|hit| {
            let source = hit.get("source").and_then(citation).unwrap_or_else(|| tool.to_owned());
            Some(passage(text(hit, "content")?, &source, false))
        }));
    } else if let Some(entries) =
        value.get("entries").and_then(Value::as_array).filter(|_| tool == "memory.read")
    {
        found.passages.extend(entries.iter().filter_map(|entry| {
            let source = format!("memory {}", text(entry, "id")?);
            Some(passage(text(entry, "content")?, &source, false))
        }));
    } else if let Some(content) = text(value, "content") {
        let path = text(value, "path").map(str::to_owned).or_else(path);
        found.passages.push(passage(content, path.as_deref().unwrap_or(tool), path.is_some()));
    } else {
        found.passages.push(passage(&value.to_string(), tool, false));
    }
}

/// What to call a hit's source: its URI or title, with the page.
fn citation(source: &Value) -> Option<String> {
    let name = ["uri", "title", "doc_id"].iter().find_map(|key| text(source, key))?;
    Some(match source.get("page").and_then(Value::as_u64) {
        Some(page) => format!("{name}, page {page}"),
        None => name.to_owned(),
    })
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.trim().is_empty())
}

fn passage(text: &str, source: &str, is_file: bool) -> Passage {
    Passage { text: text.to_owned(), source: source.to_owned(), is_file }
}

/// An argument of the call that a result answers.
fn argument(messages: &[Message], call_id: &str, key: &str) -> Option<String> {
    let calls = messages.iter().filter_map(|message| match message {
        Message::Assistant { calls, .. } => Some(calls),
        _ => None,
    });
    let call = calls.flatten().find(|call| call.id == call_id)?;
    text(&call.parsed_arguments().ok()?, key).map(str::to_owned)
}

/// Reads an object or array of JSON, also one whose end was cut off: what stands open is closed.
fn parse(content: &str) -> Option<Value> {
    let content = content.trim();
    if !content.starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str(content).ok().or_else(|| serde_json::from_str(&closed(content)).ok())
}

fn closed(content: &str) -> String {
    let content = content.strip_suffix("… (cut)").unwrap_or(content).trim_end();
    let mut open = Vec::new();
    let (mut in_string, mut escaped, mut last_escape) = (false, false, content.len());
    for (at, c) in content.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => (escaped, last_escape) = (true, at),
            '"' => in_string = !in_string,
            '{' if !in_string => open.push('}'),
            '[' if !in_string => open.push(']'),
            '}' | ']' if !in_string => _ = open.pop(),
            _ => {}
        }
    }
    let (whole, escape) = content.split_at(last_escape);
    let is_half = escape == "\\" || (escape.starts_with("\\u") && escape.len() < 6);
    let mut closed = if is_half { whole.to_owned() } else { content.to_owned() };
    if in_string {
        closed.push('"');
    }
    closed.extend(open.into_iter().rev());
    closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_is_closed_wherever_the_cut_is() {
        let whole = r#"{"a":[{"b":"x\n\u00e9 \"y\""}]}"#;
        let strings = whole.find("x").unwrap()..whole.rfind('"').unwrap();
        for end in strings {
            let value =
                parse(&format!("{} … (cut)", &whole[..end])).unwrap_or_else(|| panic!("cut at {end}"));
            assert!(value["a"][0]["b"].is_string(), "cut at {end}");
        }
        assert_eq!(parse("no JSON"), None);
    }
}
