//! The promises of [`LanguageModel`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::cases;
use crate::error::ErrorKind;
use crate::model::{
    Finish, FinishReason, LanguageModel, Message, ModelEvent, ModelOption, ModelRequest, ModelSettings,
    Reasoning, ReasoningEffort, ResponseSchema, ToolCall, ToolChoice,
};
use crate::tool::ToolSpec;

cases! {
    dyn LanguageModel, language_model_conformance, language_model:
    the_model_says_what_it_is
    an_answer_ends_with_done_and_nothing_after
    calls_come_whole_with_ids_of_their_own
    without_tools_there_are_no_calls
    a_conversation_with_tool_results_is_answered
    asking_again_is_answered_again
    concurrent_answers_do_not_mix
    dropping_an_answer_leaves_the_model_usable
    an_option_is_honoured_or_refused
    a_tool_that_is_not_offered_cannot_be_chosen
    thoughts_go_back_with_the_conversation
}

const PATIENCE: Duration = Duration::from_secs(60);

fn request() -> ModelRequest {
    ModelRequest::new(vec![
        Message::System { content: "Answer in one short sentence.".into() },
        Message::User { content: "Which city is the capital of Portugal, in notes.txt?".into() },
    ])
}

fn look_up() -> ToolSpec {
    ToolSpec::new("file.read", "Reads a file").with_input_schema(json!({
        "type": "object", "required": ["path"], "properties": {"path": {"type": "string"}}
    }))
}

struct Answer {
    text: String,
    reasoning: Vec<Reasoning>,
    calls: Vec<ToolCall>,
    finish: Finish,
}

async fn answer(model: &dyn LanguageModel, request: ModelRequest) -> Answer {
    let asked = async {
        let mut stream = model.stream(request).await.expect("the request is answered");
        let (mut text, mut reasoning, mut calls, mut finish) = (String::new(), Vec::new(), Vec::new(), None);
        while let Some(event) = stream.next().await {
            assert!(finish.is_none(), "a part came after Done");
            match event.expect("the answer goes on") {
                ModelEvent::Text(part) => text.push_str(&part),
                ModelEvent::Reasoning(piece) => Reasoning::join(&mut reasoning, piece),
                ModelEvent::Call(call) => calls.push(call),
                ModelEvent::Done(end) => finish = Some(end),
            }
        }
        Answer { text, reasoning, calls, finish: finish.expect("the answer ends with Done") }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("no answer in time")
}

/// Provider and name are not blank and stay the same.
async fn the_model_says_what_it_is(model: Arc<dyn LanguageModel>) {
    let info = model.info();
    assert!(!info.provider.trim().is_empty() && !info.name.trim().is_empty());
    assert_eq!(info, model.info());
}

/// The last part is `Done`; there is text or a call before it.
async fn an_answer_ends_with_done_and_nothing_after(model: Arc<dyn LanguageModel>) {
    let answer = answer(&*model, request()).await;
    assert!(!answer.text.is_empty() || !answer.calls.is_empty());
}

/// Every call has a name and an id that no other call of the answer has.
async fn calls_come_whole_with_ids_of_their_own(model: Arc<dyn LanguageModel>) {
    let answer = answer(&*model, request().with_tools(vec![look_up()])).await;
    let ids: HashSet<&str> = answer.calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids.len(), answer.calls.len(), "two calls have one id");
    assert!(!ids.contains(""), "a call has no id");
    assert!(answer.calls.iter().all(|call| !call.name.is_empty()), "a call has no name");
}

/// A request without tools is answered without calls.
async fn without_tools_there_are_no_calls(model: Arc<dyn LanguageModel>) {
    assert_eq!(answer(&*model, request()).await.calls, []);
}

/// Calls and their results are part of a conversation, whatever the arguments and results hold.
async fn a_conversation_with_tool_results_is_answered(model: Arc<dyn LanguageModel>) {
    let mut request = request().with_tools(vec![look_up()]);
    let calls = vec![
        ToolCall::new("call-1", "file.read", "{\"path\":\"notes.txt\"}"),
        ToolCall::new("call-2", "no such tool", "not JSON"),
    ];
    request.messages.push(Message::assistant("", calls));
    for (id, content) in
        [("call-1", "{\"path\":\"notes.txt\",\"content\":\"Lisbon.\"}"), ("call-2", "é \"\u{1f642}\"\n")]
    {
        request.messages.push(Message::Tool {
            call_id: id.into(),
            name: "file.read".into(),
            content: content.into(),
        });
    }
    answer(&*model, request).await;
}

/// The same request can be made again and again.
async fn asking_again_is_answered_again(model: Arc<dyn LanguageModel>) {
    for _ in 0..3 {
        answer(&*model, request()).await;
    }
}

/// Answers that are given at the same time each have their own end and usage.
async fn concurrent_answers_do_not_mix(model: Arc<dyn LanguageModel>) {
    let alone = answer(&*model, request()).await;
    let answers = futures_util::future::join_all((0..4).map(|_| answer(&*model, request()))).await;
    for answer in answers {
        assert!(!answer.text.is_empty());
        assert_eq!(answer.finish.usage.input_tokens, alone.finish.usage.input_tokens);
    }
}

/// Dropping the future or the stream ends the call and harms no other.
async fn dropping_an_answer_leaves_the_model_usable(model: Arc<dyn LanguageModel>) {
    drop(model.stream(request()));
    let mut stream = model.stream(request()).await.expect("the request is answered");
    stream.next().await.expect("a first part").expect("a first part");
    drop(stream);
    answer(&*model, request()).await;
}

/// A request with an option is answered as it says, or refused with the code `unsupported_option` before anything is
/// answered.
async fn an_option_is_honoured_or_refused(model: Arc<dyn LanguageModel>) {
    let schema = json!({"type": "object", "required": ["city"], "additionalProperties": false,
        "properties": {"city": {"type": "string", "enum": ["Lisbon"]}}});
    for option in ModelOption::ALL {
        let plain = request().with_tools(vec![look_up()]);
        let asked = match option {
            ModelOption::ToolChoice => {
                plain.with_settings(ModelSettings::default().with_tool_choice(ToolChoice::None))
            }
            ModelOption::ResponseSchema => {
                request().with_response_schema(ResponseSchema::new("answer", schema.clone()))
            }
            ModelOption::Temperature => plain.with_settings(ModelSettings::default().with_temperature(0.0)),
            ModelOption::TopP => plain.with_settings(ModelSettings::default().with_top_p(0.5)),
            ModelOption::MaxTokens => request().with_settings(ModelSettings::default().with_max_tokens(2)),
            ModelOption::Stop => request().with_settings(ModelSettings::default().with_stop(["\u{1f642}"])),
            ModelOption::Seed => plain.with_settings(ModelSettings::default().with_seed(7)),
            ModelOption::Reasoning => {
                request().with_settings(ModelSettings::default().with_reasoning(ReasoningEffort::Low))
            }
        };
        assert_eq!(asked.options(), [option]);
        match model.stream(asked.clone()).await {
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.code()),
                    (ErrorKind::Invalid, "unsupported_option"),
                    "{option}"
                );
            }
            Ok(stream) => {
                drop(stream);
                let answer = answer(&*model, asked).await;
                match option {
                    ModelOption::ToolChoice => assert_eq!(answer.calls, [], "a tool was called"),
                    ModelOption::ResponseSchema => {
                        let json: Value = serde_json::from_str(&answer.text).expect("the answer is JSON");
                        assert_eq!(json["city"], "Lisbon");
                    }
                    ModelOption::MaxTokens => {
                        assert!(answer.finish.reason == FinishReason::Length || answer.text.len() < 64);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A tool that is to be called is one of the request's.
async fn a_tool_that_is_not_offered_cannot_be_chosen(model: Arc<dyn LanguageModel>) {
    for choice in [ToolChoice::Tool("file.write".into()), ToolChoice::Required] {
        let asked = match choice {
            ToolChoice::Required => request(),
            _ => request().with_tools(vec![look_up()]),
        };
        let refused = model
            .stream(asked.with_settings(ModelSettings::default().with_tool_choice(choice)))
            .await
            .err()
            .expect("it is refused");
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(["unknown_tool_choice", "unsupported_option"].contains(&refused.code()), "{refused}");
    }
}

/// What was thought is part of a conversation, also what another service has signed.
async fn thoughts_go_back_with_the_conversation(model: Arc<dyn LanguageModel>) {
    let first = answer(&*model, request().with_tools(vec![look_up()])).await;
    let mut reasoning = first.reasoning;
    reasoning.push(Reasoning::text("It is in the notes."));
    let mut asked = request().with_tools(vec![look_up()]);
    asked.messages.push(Message::Assistant {
        content: String::new(),
        reasoning,
        calls: vec![ToolCall::new("call-1", "file.read", "{\"path\":\"notes.txt\"}")],
    });
    asked.messages.push(Message::tool("call-1", "file.read", "{\"content\":\"Lisbon.\"}"));
    answer(&*model, asked).await;
}
