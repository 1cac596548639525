//! What the extractive model looks up first.

use serde_json::json;

use crate::model::ToolCall;
use crate::tool::ToolSpec;

/// The most files that are read for one goal.
const MAX_FILES: usize = 8;

/// The most characters of a goal that are searched for.
const MAX_QUERY: usize = 2000;

/// Words with a slash or a dot that name no file.
const NOT_FILES: [&str; 7] = ["and/or", "e.g", "either/or", "i.e", "n/a", "w/o", "yes/no"];

/// Whether one of the tools reads documents, memories or files.
pub(super) fn can_read(tools: &[ToolSpec]) -> bool {
    ["rag.search", "memory.read", "file.read"].iter().any(|name| is_granted(tools, name))
}

/// The calls of the first turn, those that the tools permit.
pub(super) fn calls(goal: &str, tools: &[ToolSpec]) -> Vec<ToolCall> {
    let mut wanted = Vec::new();
    if !goal.trim().is_empty() {
        let query: String = goal.chars().take(MAX_QUERY).collect();
        wanted.push(("rag.search", json!({"query": query})));
        wanted.push(("memory.read", json!({"query": query})));
    }
    wanted.extend(files(goal).into_iter().map(|path| ("file.read", json!({"path": path}))));
    wanted
        .into_iter()
        .filter(|(name, _)| is_granted(tools, name))
        .enumerate()
        .map(|(number, (name, input))| ToolCall::new(format!("call-{}", number + 1), name, input.to_string()))
        .collect()
}

/// What the calls are for, in a sentence.
pub(super) fn intent(calls: &[ToolCall]) -> String {
    let count = |name: &str| calls.iter().filter(|call| call.name == name).count();
    let mut intents = Vec::new();
    if count("rag.search") > 0 {
        intents.push("search the documents");
    }
    if count("memory.read") > 0 {
        intents.push("look into memory");
    }
    match count("file.read") {
        0 => {}
        1 => intents.push("read the file"),
        _ => intents.push("read the files"),
    }
    match intents.split_last() {
        Some((last, [])) => format!("I need to {last}."),
        Some((last, before)) => format!("I need to {} and {last}.", before.join(", ")),
        None => String::new(),
    }
}

fn is_granted(tools: &[ToolSpec], name: &str) -> bool {
    tools.iter().any(|tool| tool.name == name)
}

/// The files that the goal names, each once.
fn files(goal: &str) -> Vec<String> {
    let mut files: Vec<String> = Vec::new();
    for word in goal.split_whitespace() {
        let word = word.trim_matches(|c| matches!(c, '"' | '\'' | '`' | '(' | ')' | '[' | ']' | '<' | '>'));
        let word =
            word.trim_end_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '/' | '_' | '-' | '~'));
        let path = word.strip_prefix("file://").unwrap_or(word);
        if is_path(path) && !files.iter().any(|known| known == path) {
            files.push(path.to_owned());
        }
    }
    files.truncate(MAX_FILES);
    files
}

fn is_path(word: &str) -> bool {
    if word.contains("://") || word.ends_with('/') || word.contains('@') {
        return false;
    }
    if !word.contains(char::is_alphabetic) || NOT_FILES.contains(&word.to_lowercase().as_str()) {
        return false;
    }
    let has_extension = word.rsplit_once('.').is_some_and(|(stem, extension)| {
        !stem.is_empty()
            && (1..=5).contains(&extension.len())
            && extension.bytes().all(|byte| byte.is_ascii_alphabetic())
    });
    has_extension || word.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_words_with_a_slash_or_an_extension() {
        let goal = "Read 'Q3.csv', (docs/plan) and /etc/hosts; e.g. Q3.csv, 24/7, a@b.org, 3.14, docs/, \
            file:///x/y.md, https://x.org/a.txt!";
        assert_eq!(files(goal), ["Q3.csv", "docs/plan", "/etc/hosts", "/x/y.md"]);
        let many: String = (b'a'..=b'z').map(|letter| format!("{}.txt ", char::from(letter))).collect();
        assert_eq!(files(&many).len(), MAX_FILES);
    }

    #[test]
    fn the_intent_names_each_kind_of_call() {
        let call = |name: &str| ToolCall::new("c", name, "{}");
        assert_eq!(intent(&[call("file.read")]), "I need to read the file.");
        let three = [call("rag.search"), call("memory.read"), call("file.read"), call("file.read")];
        assert_eq!(intent(&three), "I need to search the documents, look into memory and read the files.");
    }
}
