//! A stand-in for a language model: it looks the goal up and answers with the sentences that fit it best.

mod passages;
mod plan;
mod selection;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use crate::error::Result;
use crate::model::{
    Finish, FinishReason, LanguageModel, Message, ModelEvent, ModelInfo, ModelOption, ModelRequest,
    ModelStream, ToolCall, ToolChoice, Usage,
};
use crate::tool::ToolSpec;
use passages::{Failure, Found};

/// Answers without a language model, by fixed rules: the same request gives the same answer, everywhere.
///
/// The goal is the last [`Message::User`]. In its first turn the model calls what the request grants of
/// `rag.search`, `memory.read` and, for each file that the goal names, `file.read`. In its second turn it answers
/// with up to four sentences of what the tools gave back, word for word, each with its source in brackets. It
/// says so plainly where nothing fits, and names the tools that failed.
///
/// It quotes and never concludes: its [`ModelInfo::is_language_model`] is false. Usage counts words, and so does
/// [`ModelSettings::max_tokens`](crate::model::ModelSettings::max_tokens). Nothing is left to chance, so that temperature, `top_p` and seed change nothing; it
/// can be forbidden to call tools, but not be made to. It honours no other option.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtractiveModel;

const HONOURED: [ModelOption; 5] = [
    ModelOption::ToolChoice,
    ModelOption::Temperature,
    ModelOption::TopP,
    ModelOption::Seed,
    ModelOption::MaxTokens,
];

#[async_trait]
impl LanguageModel for ExtractiveModel {
    fn info(&self) -> ModelInfo {
        ModelInfo::rules("operone", "extractive")
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let name = self.info().name;
        request.require(&name, &HONOURED)?;
        if !matches!(request.settings.tool_choice, ToolChoice::Auto | ToolChoice::None) {
            return Err(ModelOption::ToolChoice.unsupported_by(&name));
        }
        let mut answer = answer(&request);
        let is_cut = request.settings.max_tokens.is_some_and(|most| answer.cut(most as usize));
        let reason = match answer.calls.as_slice() {
            _ if is_cut => FinishReason::Length,
            [] => FinishReason::Stop,
            _ => FinishReason::ToolCalls,
        };
        let usage = Usage::new(words_read(&request), answer.words());
        let parts: Vec<Result<ModelEvent>> = words(&answer.text)
            .map(|word| ModelEvent::Text(word.to_owned()))
            .chain(answer.calls.into_iter().map(ModelEvent::Call))
            .chain([ModelEvent::Done(Finish::new(reason, usage))])
            .map(Ok)
            .collect();
        Ok(stream::iter(parts).boxed())
    }
}

struct Answer {
    text: String,
    calls: Vec<ToolCall>,
}

impl Answer {
    /// Keeps no more than so many words, and the calls only where all their words are kept. Whether anything went.
    fn cut(&mut self, most: usize) -> bool {
        if self.words() <= most as u64 {
            return false;
        }
        let kept: usize = words(&self.text).take(most).map(str::len).sum();
        self.text.truncate(kept);
        self.calls.clear();
        true
    }

    fn words(&self) -> u64 {
        self.calls.iter().map(|call| count(&call.arguments)).sum::<u64>() + count(&self.text)
    }
}

fn answer(request: &ModelRequest) -> Answer {
    let asked = request.messages.iter().rposition(|message| matches!(message, Message::User { .. }));
    let (goal, since) = match asked.and_then(|at| request.messages.get(at..)) {
        Some([Message::User { content }, since @ ..]) => (content.as_str(), since),
        _ => ("", request.messages.as_slice()),
    };
    let found = passages::read(since);
    if found.is_empty() {
        let tools = if request.settings.tool_choice == ToolChoice::None { &[][..] } else { &request.tools };
        let calls = plan::calls(goal, tools);
        let text = if calls.is_empty() { nothing_to_read(tools) } else { plan::intent(&calls) };
        return Answer { text, calls };
    }
    Answer { text: report(goal, &found), calls: Vec::new() }
}

fn nothing_to_read(tools: &[ToolSpec]) -> String {
    let reason = if plan::can_read(tools) {
        "the goal names nothing that I could look up"
    } else {
        "no tool to read any of them is granted"
    };
    format!("I answer with sentences from documents, memories and files, and {reason}.")
}

fn report(goal: &str, found: &Found) -> String {
    let quotes = selection::best(goal, &found.passages);
    let mut report = Vec::new();
    if !quotes.is_empty() {
        report.extend(quotes);
    } else {
        report.push("I found nothing about this in what I may read.".to_owned());
        let begin = selection::first_of_files(&found.passages);
        if !begin.is_empty() {
            report.push("The file that was named begins:".to_owned());
            report.extend(begin);
        }
    }
    report.extend(found.failures.iter().map(Failure::sentence));
    report.join(" ")
}

/// The words of a text, each with the white space before it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let word = rest.find(|c: char| !c.is_whitespace())?;
        let end = rest.get(word..)?.find(char::is_whitespace).map_or(rest.len(), |length| word + length);
        let (taken, left) = rest.split_at(end);
        rest = left;
        Some(taken)
    })
}

fn words_read(request: &ModelRequest) -> u64 {
    let of = |message: &Message| match message {
        Message::System { content } | Message::User { content } | Message::Tool { content, .. } => {
            count(content)
        }
        Message::Assistant { content, calls, .. } => {
            count(content) + calls.iter().map(|call| count(&call.arguments)).sum::<u64>()
        }
    };
    request.messages.iter().map(of).sum()
}

fn count(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn user(goal: &str) -> Message {
        Message::User { content: goal.into() }
    }

    fn tool(name: &str, content: impl ToString) -> Message {
        Message::Tool { call_id: "c".into(), name: name.into(), content: content.to_string() }
    }

    fn all_tools() -> Vec<ToolSpec> {
        ["rag.search", "memory.read", "file.read", "file.write"].map(|name| ToolSpec::new(name, "")).into()
    }

    fn second_turn(goal: &str, results: Vec<Message>) -> String {
        let mut messages = vec![user("an earlier goal"), tool("rag.search", "an earlier result"), user(goal)];
        messages.extend(results);
        answer(&ModelRequest::new(messages).with_tools(all_tools())).text
    }

    fn first_turn(goal: &str, tools: Vec<ToolSpec>) -> Vec<(String, Value)> {
        answer(&ModelRequest::new(vec![user(goal)]).with_tools(tools))
            .calls
            .into_iter()
            .map(|call| (call.name.clone(), call.parsed_arguments().unwrap()))
            .collect()
    }

    #[test]
    fn it_calls_what_is_granted_and_applies() {
        let goal = "Compare \"data/q3.csv\" with notes.txt, and/or http://a.b/c.html.";
        assert_eq!(
            first_turn(goal, all_tools()),
            [
                ("rag.search".to_owned(), json!({"query": goal})),
                ("memory.read".to_owned(), json!({"query": goal})),
                ("file.read".to_owned(), json!({"path": "data/q3.csv"})),
                ("file.read".to_owned(), json!({"path": "notes.txt"})),
            ]
        );
        assert_eq!(first_turn("Summarize sales data", vec![ToolSpec::new("file.read", "")]), []);
        assert_eq!(first_turn(goal, Vec::new()), []);
    }

    #[tokio::test]
    async fn it_says_what_it_is_going_to_do_word_by_word() {
        let request = ModelRequest::new(vec![user("What is in notes.txt?")])
            .with_tools(vec![ToolSpec::new("file.read", "")]);
        let parts: Vec<_> = ExtractiveModel.stream(request).await.unwrap().collect().await;
        let parts: Vec<ModelEvent> = parts.into_iter().map(Result::unwrap).collect();
        assert_eq!(parts[..2], [ModelEvent::Text("I".into()), ModelEvent::Text(" need".into())]);
        assert!(matches!(&parts[parts.len() - 2], ModelEvent::Call(call) if call.name == "file.read"));
        let ModelEvent::Done(finish) = &parts[parts.len() - 1] else { panic!("the last part is no Done") };
        assert_eq!(finish.reason, FinishReason::ToolCalls);
        assert_eq!(finish.usage.input_tokens, 4);
    }

    #[test]
    fn each_sentence_of_the_answer_names_its_source() {
        let answer = second_turn(
            "Does the user prefer dark mode, and what were the Q3 sales?",
            vec![
                tool(
                    "rag.search",
                    json!({"results": [
                        {"content": "# Results\n\nThe weather was fine. Q3 **sales** were\n$1M.", "score": 0.9,
                         "source": {"uri": "file:///x/report.pdf", "page": 3, "doc_id": "d", "chunk_id": "c1"}}
                    ]}),
                ),
                tool(
                    "memory.read",
                    json!({"entries": [{"id": "mem-1", "content": "User prefers dark mode", "score": 0.8}]}),
                ),
                tool(
                    "file.read",
                    json!({"path": "notes.txt", "content": "Buy milk. The Q3 sales meeting is on Monday."}),
                ),
            ],
        );
        assert!(answer.contains("User prefers dark mode [memory mem-1]"), "{answer}");
        assert!(answer.contains("Q3 sales were $1M. [file:///x/report.pdf, page 3]"), "{answer}");
        assert!(answer.contains("The Q3 sales meeting is on Monday. [notes.txt]"), "{answer}");
        assert!(!answer.contains("weather") && !answer.contains("milk"), "{answer}");
    }

    #[test]
    fn results_of_an_earlier_goal_do_not_count() {
        let request = ModelRequest::new(vec![
            user("the first goal"),
            tool("memory.read", json!({"entries": []})),
            user("the second goal"),
        ])
        .with_tools(all_tools());
        assert_eq!(answer(&request).calls.len(), 2);
    }

    #[test]
    fn nothing_found_is_said_plainly_with_what_failed() {
        let answer = second_turn(
            "What does plan.txt say about penguins?",
            vec![
                tool("rag.search", json!({"results": []})),
                tool("file.read", json!({"error": {"code": "not_found", "detail": "there is no plan.txt"}})),
            ],
        );
        assert!(answer.starts_with("I found nothing about this in what I may read."), "{answer}");
        assert!(answer.contains("file.read failed: there is no plan.txt (not_found)."), "{answer}");
    }

    #[test]
    fn a_file_without_a_fitting_sentence_is_shown_from_its_begin() {
        let answer = second_turn(
            "Summarize a.txt",
            vec![tool("file.read", json!({"path": "a.txt", "content": "Ships sail. Cats sleep."}))],
        );
        assert!(answer.contains("begins: Ships sail. [a.txt] Cats sleep. [a.txt]"), "{answer}");
    }

    #[test]
    fn an_output_that_was_cut_is_still_read() {
        let call = ToolCall::new("c", "file.read", json!({"path": "long.txt"}).to_string());
        let assistant = Message::assistant("", vec![call]);
        let cut = "{\"bytes\":9,\"content\":\"Whales \\\"sing\\\" at night.\\nAnd th… (cut)";
        let answer = second_turn("When do whales sing?", vec![assistant, tool("file.read", cut)]);
        assert_eq!(answer, "Whales \"sing\" at night. [long.txt]");
    }

    #[test]
    fn words_keep_the_space_before_them() {
        assert_eq!(words("I need  it.").collect::<Vec<_>>(), ["I", " need", "  it."]);
        assert_eq!(words(" \n").count(), 0);
    }
}
