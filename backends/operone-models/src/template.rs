//! Events that are like one before in all but their text, as nearly all of an answer are: they need not be parsed.

use std::collections::VecDeque;

use operone_core::model::{ModelEvent, Reasoning};

/// The events of an answer that are more text and nothing else, and those that are more thoughts.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    text: Template,
    thought: Template,
}

impl Templates {
    /// Takes an event that means this text and nothing else.
    pub(crate) fn learn_text(&mut self, data: &str, text: &str) {
        self.text.learn(data, text);
    }

    /// Takes an event that means this thought and nothing else.
    pub(crate) fn learn_thought(&mut self, data: &str, thought: &str) {
        self.thought.learn(data, thought);
    }

    /// Reads an event that is like one that was learnt. False: it has to be parsed.
    pub(crate) fn read(&self, data: &str, events: &mut VecDeque<ModelEvent>) -> bool {
        if let Some(text) = self.text.text(data) {
            give_text(events, text);
        } else if let Some(thought) = self.thought.text(data) {
            give_thought(events, thought);
        } else {
            return false;
        }
        true
    }
}

/// Gives more text, if it is any.
pub(crate) fn give_text(events: &mut VecDeque<ModelEvent>, text: String) {
    if !text.is_empty() {
        events.push_back(ModelEvent::Text(text));
    }
}

/// Gives more thoughts, if they are any.
pub(crate) fn give_thought(events: &mut VecDeque<ModelEvent>, thought: String) {
    if !thought.is_empty() {
        events.push_back(ModelEvent::Reasoning(Reasoning::text(thought)));
    }
}

/// What stands around the text of an event.
#[derive(Debug, Default)]
struct Template {
    before: String,
    after: String,
}

impl Template {
    /// A text that does not lie in `data`, because it had to be put together, teaches nothing.
    fn learn(&mut self, data: &str, text: &str) {
        let Some((before, after)) = around(data, text) else { return };
        self.before.clear();
        self.before.push_str(before);
        self.after.clear();
        self.after.push_str(after);
    }

    /// The text of an event that is like the learnt one. JSON is read from left to right: behind the same begin and
    /// before the same end, a string in the place of a string changes nothing but itself.
    fn text(&self, data: &str) -> Option<String> {
        if self.before.is_empty() {
            return None;
        }
        let string = data.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        serde_json::from_str(string).ok()
    }
}

/// What stands before and after the string that `text` is within `data`, with its quotes.
fn around<'a>(data: &'a str, text: &str) -> Option<(&'a str, &'a str)> {
    let quote = text.as_ptr().addr().checked_sub(data.as_ptr().addr())?.checked_sub(1)?;
    let (before, string) = data.split_at_checked(quote)?;
    let after = string.strip_prefix('"')?.strip_prefix(text)?.strip_prefix('"')?;
    Some((before, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(before: &str, text: &str, after: &str) -> Template {
        let data = format!("{before}\"{text}\"{after}");
        let place = before.len() + 1;
        let mut template = Template::default();
        template.learn(&data, &data[place..place + text.len()]);
        template
    }

    #[test]
    fn the_text_alone_may_differ() {
        let template = learnt("{\"a\":1,\"text\":", "one", ",\"b\":null}");
        for (data, text) in [
            ("{\"a\":1,\"text\":\"two\",\"b\":null}", Some("two")),
            ("{\"a\":1,\"text\":\"\",\"b\":null}", Some("")),
            ("{\"a\":1,\"text\":\"ü\\n\\u00fc\\\"\",\"b\":null}", Some("ü\nü\"")),
            ("{\"a\":1,\"text\":null,\"b\":null}", None),
            ("{\"a\":2,\"text\":\"two\",\"b\":null}", None),
            ("{\"a\":1,\"text\":\"two\",\"b\":1}", None),
            ("{\"a\":1,\"text\":\"two\",\"c\":\"\",\"b\":null}", None),
            ("{\"a\":1,\"text\":\"two\",\"text\":\"three\",\"b\":null}", None),
            ("{\"a\":1,\"text\":\"two\\\",\"b\":null}", None),
            ("{\"a\":1,\"text\":\"t\nwo\",\"b\":null}", None),
            ("{\"a\":1,\"text\":,\"b\":null}", None),
            ("{\"a\":1,\"text\":", None),
            ("", None),
        ] {
            assert_eq!(template.text(data).as_deref(), text, "{data}");
        }
    }

    #[test]
    fn nothing_is_taken_from_what_was_not_learnt() {
        let mut template = Template::default();
        assert_eq!(template.text("\"text\""), None);
        template.learn("{\"text\":\"one\"}", &String::from("one"));
        template.learn("one", "one");
        template.learn("", "");
        assert_eq!(template.text("{\"text\":\"one\"}"), None);
    }
}
