//! Recorded calls come again.

use std::fs;

use futures_util::StreamExt;
use futures_util::future::join_all;
use operone_core::in_process::{ExtractiveModel, ScriptedModel, ScriptedTurn};
use operone_core::model::layers::{Recorder, Replayer};
use operone_core::model::{ModelSettings, Price, Reasoning, ToolCall};

use super::*;

/// What old code wrote. Cassettes are kept for years: this file never changes.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/formats/cassette-1.jsonl");

fn recorder(model: Model, file: &TemporaryFile) -> Recorder {
    Recorder::new(model, &file.0).unwrap()
}

/// The events, with errors as their codes.
fn shown(events: Vec<Result<ModelEvent>>) -> Vec<std::result::Result<ModelEvent, String>> {
    events.into_iter().map(|event| event.map_err(|error| error.code().to_owned())).collect()
}

#[tokio::test]
async fn what_was_recorded_comes_again() {
    let limited = Error::new(ErrorKind::RateLimited, "slower").with_code("rate_limited");
    let turns = vec![
        ScriptedTurn::text(["a", "b"]).after_reasoning(Reasoning::signature("s")),
        ScriptedTurn::calls(vec![ToolCall::new("c1", "add", "{not JSON")]),
        ScriptedTurn::error(&limited),
        ScriptedTurn::error(&limited).after_text("so far"),
        ScriptedTurn::text(["cut"]).cut_off(),
    ];
    let file = TemporaryFile::new();
    let recorder = recorder(Arc::new(ScriptedModel::new(turns)), &file);
    let mut first = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        first.push(shown(events(&recorder, ask(name)).await));
    }
    let replayer = Replayer::open(&file.0).unwrap();
    assert_eq!(replayer.info(), recorder.info());
    for (name, first) in ["a", "b", "c", "d", "e"].into_iter().zip(first) {
        assert_eq!(shown(events(&replayer, ask(name)).await), first, "{name}");
    }
    let again = replayer.stream(ask("c")).await.err().unwrap();
    assert_eq!((again.kind(), again.message()), (ErrorKind::RateLimited, "slower"));
    assert!(again.is_retryable());
}

#[tokio::test]
async fn recordings_of_an_equal_request_come_in_order_and_the_last_again() {
    let file = TemporaryFile::new();
    let model = acts(|call| answer(vec![part(&call.to_string()), done()]));
    let recorder = recorder(model, &file);
    for _ in 0..3 {
        text(&recorder).await.unwrap();
    }
    let replayer = Replayer::open(&file.0).unwrap();
    for expected in ["0", "1", "2", "2", "2"] {
        assert_eq!(text(&replayer).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn an_unknown_request_is_told_by_its_differences_and_not_by_its_words() {
    let file = TemporaryFile::new();
    let recorder = recorder(Arc::new(ExtractiveModel), &file);
    events(&recorder, ask("the first secret")).await;
    let mut other = ask("the first secret");
    other.messages.push(Message::user("more"));
    events(&recorder, other.with_settings(ModelSettings::default().with_max_tokens(5))).await;
    let replayer = Replayer::open(&file.0).unwrap();
    let error = replayer
        .stream(ask("the second secret").with_settings(ModelSettings::default().with_seed(7)))
        .await
        .err()
        .unwrap();
    assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, "cassette_has_no_answer"));
    assert!(error.message().contains("messages[0].content, seed"), "{error}");
    assert!(!error.message().contains("secret"), "{error}");
    let many = (0..9).map(|_| Message::user("x")).collect();
    let error = replayer.stream(ModelRequest::new(many)).await.err().unwrap();
    assert!(error.message().contains(" more"), "{error}");
}

#[tokio::test]
async fn what_was_dropped_is_recorded_as_far_as_it_came() {
    let file = TemporaryFile::new();
    let (slow, _) = Slow::new(0, 0);
    let recorder = recorder(slow, &file);
    drop(recorder.stream(ask("never begun")));
    let mut stream = recorder.stream(ask("hello")).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    drop(recorder.stream(ask("never read")).await.unwrap());
    assert_eq!(fs::read_to_string(&file.0).unwrap().lines().count(), 2);
    let replayer = Replayer::open(&file.0).unwrap();
    assert_eq!(shown(events(&replayer, ask("hello")).await), [Ok(ModelEvent::Text("a".into()))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_same_time_do_not_mix() {
    let file = TemporaryFile::new();
    let long = "x".repeat(10_000);
    let model = acts(move |_| answer(vec![part(&long), part(&long), done()]));
    let recorder = Arc::new(recorder(model, &file));
    let calls = (0..50).map(|call| {
        let recorder = Arc::clone(&recorder);
        tokio::spawn(async move { events(&*recorder, ask(&call.to_string())).await.len() })
    });
    assert!(join_all(calls).await.into_iter().all(|events| events.unwrap() == 3));
    let replayer = Replayer::open(&file.0).unwrap();
    for call in 0..50 {
        assert_eq!(events(&replayer, ask(&call.to_string())).await.len(), 3, "{call}");
    }
}

#[tokio::test]
async fn a_line_that_was_never_finished_is_lost_and_no_other() {
    let file = TemporaryFile::new();
    for name in ["a", "b"] {
        events(&recorder(Arc::new(ExtractiveModel), &file), ask(name)).await;
    }
    let whole = fs::read_to_string(&file.0).unwrap();
    let begins: Vec<usize> = whole.match_indices('\n').map(|(at, _)| at + 1).collect();
    for end in (begins[1]..begins[2]).step_by(7) {
        fs::write(&file.0, &whole[..end]).unwrap();
        let replayer = Replayer::open(&file.0).unwrap();
        assert!(replayer.stream(ask("a")).await.is_ok());
        assert_eq!(replayer.stream(ask("b")).await.err().unwrap().code(), "cassette_has_no_answer");
    }
    fs::write(&file.0, &whole[..begins[0] - 9]).unwrap();
    recorder(Arc::new(ExtractiveModel), &file);
    assert_eq!(fs::read_to_string(&file.0).unwrap(), whole[..begins[0]], "a header is finished");
    fs::write(&file.0, &whole[..begins[2] - 9]).unwrap();
    events(&recorder(Arc::new(ExtractiveModel), &file), ask("c")).await;
    let replayer = Replayer::open(&file.0).unwrap();
    assert!(replayer.stream(ask("a")).await.is_ok() && replayer.stream(ask("c")).await.is_ok());
}

#[tokio::test]
async fn two_recorders_continue_one_cassette() {
    let file = TemporaryFile::new();
    let (one, other) =
        (recorder(Arc::new(ExtractiveModel), &file), recorder(Arc::new(ExtractiveModel), &file));
    for name in ["a", "b"] {
        events(&one, ask(name)).await;
        events(&other, ask(&name.to_uppercase())).await;
    }
    let replayer = Replayer::open(&file.0).unwrap();
    for name in ["a", "A", "b", "B"] {
        assert!(replayer.stream(ask(name)).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn a_cassette_is_of_one_model() {
    let file = TemporaryFile::new();
    recorder(Arc::new(ExtractiveModel), &file);
    let other = Recorder::new(Slow::new(0, 0).0, &file.0).unwrap_err();
    assert_eq!((other.kind(), other.code()), (ErrorKind::Conflict, "cassette_of_another_model"));
    assert_eq!(Replayer::open(&file.0).unwrap().info().name, "extractive");
}

#[tokio::test]
async fn what_is_no_cassette_is_refused() {
    let file = TemporaryFile::new();
    let missing = Replayer::open(&file.0).unwrap_err();
    assert_eq!((missing.kind(), missing.code()), (ErrorKind::NotFound, "cassette_unreadable"));
    let header = "{\"format\":\"operone-cassette\",\"version\":1,\"info\":{\"provider\":\"p\",\"name\":\"m\",\"is_language_model\":true}}\n";
    for (content, code) in [
        (String::new(), "cassette_damaged"),
        ("some text\n".into(), "cassette_damaged"),
        (header.replace("operone-cassette", "other"), "cassette_damaged"),
        (header.replace("\"version\":1", "\"version\":2"), "cassette_format_unsupported"),
        (format!("{header}{{}}\n"), "cassette_damaged"),
    ] {
        fs::write(&file.0, &content).unwrap();
        assert_eq!(Replayer::open(&file.0).unwrap_err().code(), code, "{content}");
    }
    fs::write(&file.0, "notes of somebody\n").unwrap();
    assert_eq!(Recorder::new(Arc::new(ExtractiveModel), &file.0).unwrap_err().code(), "cassette_damaged");
    assert_eq!(fs::read_to_string(&file.0).unwrap(), "notes of somebody\n", "it is left alone");
    fs::write(&file.0, "notes without an end of line").unwrap();
    assert!(Recorder::new(Arc::new(ExtractiveModel), &file.0).is_err());
    assert_eq!(fs::read_to_string(&file.0).unwrap(), "notes without an end of line");
}

#[tokio::test]
async fn a_cassette_that_old_code_wrote_can_be_played() {
    let replayer = Replayer::open(VERSION_1).unwrap();
    let info = ModelInfo::new("openai-compatible", "tiny").with_price(Some(Price::new(1_000_000, 2_000_000)));
    assert_eq!(replayer.info(), info);
    assert_eq!(
        shown(
            events(&replayer, ask("hello").with_settings(ModelSettings::default().with_temperature(0.2)))
                .await
        ),
        [
            Ok(ModelEvent::Reasoning(Reasoning::text("hm"))),
            Ok(ModelEvent::Text("Hello.".into())),
            Ok(ModelEvent::Call(ToolCall::new("c1", "add", "{}"))),
            Ok(ModelEvent::Done(Finish::new(FinishReason::ToolCalls, Usage::new(3, 2)))),
        ]
    );
    for (name, events_before, code) in
        [("limited", 0, Some("rate_limited")), ("cut", 1, None), ("left", 1, None)]
    {
        let events = shown(events(&replayer, ask(name)).await);
        let texts = events.iter().filter(|event| event.is_ok()).count();
        let error = events.last().unwrap().as_ref().err().map(String::as_str);
        assert_eq!((texts, error), (events_before, code), "{name}");
    }
}
