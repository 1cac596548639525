//! Equal requests get the same answer.

use futures_util::StreamExt;
use operone_core::clock::{ManualClock, Timestamp};
use operone_core::in_process::{ScriptedModel, ScriptedTurn};
use operone_core::model::layers::Cache;
use operone_core::model::{ModelSettings, ResponseSchema, ToolCall};
use serde_json::json;

use super::*;

const MANY: usize = 1 << 20;

/// A model that numbers its answers.
fn counts() -> Arc<Acts<impl Fn(usize) -> Result<ModelStream>>> {
    acts(|call| answer(vec![part(&call.to_string()), part("!"), done()]))
}

async fn said(model: &Cache, request: &ModelRequest) -> String {
    let mut said = String::new();
    for event in events(model, request.clone()).await {
        if let ModelEvent::Text(part) = event.unwrap() {
            said.push_str(&part);
        }
    }
    said
}

#[tokio::test]
async fn an_equal_request_gets_the_same_events_and_costs_nothing() {
    let mut usage = Usage::new(3, 2);
    usage.cost_micros = 99;
    let turn = ScriptedTurn::calls(vec![ToolCall::new("c1", "add", "{}")])
        .after_text("so")
        .with_finish(Finish::new(FinishReason::ToolCalls, usage));
    let model = Cache::new(Arc::new(ScriptedModel::new(vec![turn])), MANY);
    let first: Vec<_> = events(&model, ask("a")).await.into_iter().map(Result::unwrap).collect();
    let again: Vec<_> = events(&model, ask("a")).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(first[..2], again[..2]);
    assert_eq!(first[2], ModelEvent::Done(Finish::new(FinishReason::ToolCalls, usage)));
    assert_eq!(again[2], ModelEvent::Done(Finish::new(FinishReason::ToolCalls, Usage::new(3, 2))));
}

#[tokio::test]
async fn anything_else_in_a_request_makes_it_another() {
    let model = Cache::new(counts(), MANY);
    let requests = [
        ask("a"),
        ask("b"),
        ask("a").with_settings(ModelSettings::default().with_temperature(0.0)),
        ask("a").with_settings(ModelSettings::default().with_seed(1)),
        ask("a").with_response_schema(ResponseSchema::new("x", json!({"a": 1, "b": 2}))),
        ask("a").with_response_schema(ResponseSchema::new("x", json!({"a": 1, "b": 3}))),
    ];
    for (call, request) in requests.iter().enumerate() {
        assert_eq!(said(&model, request).await, format!("{call}!"));
    }
    for (call, request) in requests.iter().enumerate() {
        assert_eq!(said(&model, request).await, format!("{call}!"));
    }
    let turned = ask("a").with_response_schema(ResponseSchema::new("x", json!({"b": 2, "a": 1})));
    assert_eq!(said(&model, &turned).await, "4!", "the order of keys means nothing");
}

#[tokio::test]
async fn only_whole_answers_are_kept() {
    let ends = |reason| Ok(ModelEvent::Done(Finish::new(reason, Usage::default())));
    let model = acts(move |call| match call {
        0 => Err(gone()),
        1 => answer(vec![part("1"), Err(gone())]),
        2 => answer(vec![part("2")]),
        3 => answer(vec![part("3"), ends(FinishReason::Length)]),
        4 => answer(vec![part("4"), ends(FinishReason::Refused)]),
        5 => answer(vec![part("5"), ends(FinishReason::Stop)]),
        _ => answer(vec![part("6"), ends(FinishReason::Stop)]),
    });
    let cache = Cache::new(shared(&model), MANY);
    for _ in 0..5 {
        events(&cache, ask("a")).await;
    }
    let mut dropped = cache.stream(ask("a")).await.unwrap();
    dropped.next().await.unwrap().unwrap();
    drop(dropped);
    assert_eq!(said(&cache, &ask("a")).await, "6");
    assert_eq!(said(&cache, &ask("a")).await, "6");
    assert_eq!(model.calls(), 7);
}

#[tokio::test]
async fn answers_lapse() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    let model = Cache::new(counts(), MANY)
        .with_ttl(Duration::from_secs(60))
        .with_clock(Arc::<ManualClock>::clone(&clock));
    assert_eq!(said(&model, &ask("a")).await, "0!");
    clock.advance(Duration::from_secs(59));
    assert_eq!(said(&model, &ask("a")).await, "0!");
    clock.advance(Duration::from_secs(1));
    assert_eq!(said(&model, &ask("a")).await, "1!");
    clock.advance(Duration::from_secs(59));
    assert_eq!(said(&model, &ask("a")).await, "1!");
}

#[tokio::test]
async fn a_full_cache_forgets_what_was_used_longest_ago() {
    let long = "x".repeat(1000);
    let model = acts(move |call| answer(vec![part(&format!("{call}{long}")), done()]));
    let cache = Cache::new(shared(&model), 3 * 1600);
    for name in ["a", "b", "c", "a", "d"] {
        said(&cache, &ask(name)).await;
    }
    assert_eq!(model.calls(), 4, "a was there");
    for name in ["a", "c", "d"] {
        said(&cache, &ask(name)).await;
    }
    assert_eq!(model.calls(), 4, "b had to go");
    said(&cache, &ask("b")).await;
    assert_eq!(model.calls(), 5);
}

#[tokio::test]
async fn an_answer_that_is_too_large_pushes_nothing_out() {
    let model = acts(|call| {
        let size = if call == 1 { 10_000 } else { 10 };
        answer(vec![part(&"x".repeat(size)), done()])
    });
    let cache = Cache::new(shared(&model), 5_000);
    for (name, calls) in [("small", 1), ("large", 2), ("small", 2), ("large", 3)] {
        said(&cache, &ask(name)).await;
        assert_eq!(model.calls(), calls, "{name}");
    }
    let nothing = Cache::new(counts(), 0);
    assert_eq!(
        (said(&nothing, &ask("a")).await, said(&nothing, &ask("a")).await),
        ("0!".into(), "1!".into())
    );
}
