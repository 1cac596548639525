//! Every call is told of.

use futures_util::StreamExt;
use operone_core::model::layers::{Metric, ModelMetrics, Telemetry};
use operone_core::model::{ModelSettings, Reasoning, ResponseSchema, ToolCall};
use serde_json::{Value, json};

use super::spans::{Spans, Told};
use super::*;

fn field<'a>(told: &'a Told, name: &str) -> Option<&'a str> {
    told.fields.get(name).map(String::as_str)
}

#[tokio::test(start_paused = true)]
async fn a_span_tells_of_request_and_answer() {
    let request = ask("a secret")
        .with_settings(
            ModelSettings::default()
                .with_max_tokens(50)
                .with_temperature(0.5)
                .with_top_p(0.25)
                .with_seed(7)
                .with_stop(["END", "\""]),
        )
        .with_response_schema(ResponseSchema::new("x", json!({})));
    let model = Telemetry::new(Slow::new(2, 3).0);
    let spans = Spans::keep();
    events(&model, request).await;
    events(&model, ask("plain")).await;
    let [span, plain] = spans.spans().try_into().unwrap();
    assert_eq!((span.name, span.is_open), ("chat", false));
    for (name, value) in [
        ("otel.name", "chat slow"),
        ("otel.kind", "client"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "test"),
        ("gen_ai.request.model", "slow"),
        ("gen_ai.request.stream", "true"),
        ("gen_ai.request.max_tokens", "50"),
        ("gen_ai.request.temperature", "0.5"),
        ("gen_ai.request.top_p", "0.25"),
        ("gen_ai.request.seed", "7"),
        ("gen_ai.request.stop_sequences", "[\"END\",\"\\\"\"]"),
        ("gen_ai.output.type", "json"),
        ("gen_ai.response.finish_reasons", "[\"stop\"]"),
        ("gen_ai.usage.input_tokens", "3"),
        ("gen_ai.usage.output_tokens", "2"),
    ] {
        assert_eq!(field(&span, name), Some(value), "{name}");
    }
    let first: f64 = field(&span, "gen_ai.response.time_to_first_chunk").unwrap().parse().unwrap();
    assert_eq!(first.round(), 2.0);
    assert_eq!(field(&span, "error.type"), None);
    for unset in ["max_tokens", "temperature", "top_p", "seed", "stop_sequences"] {
        assert_eq!(field(&plain, &format!("gen_ai.request.{unset}")), None);
    }
    assert!(spans.events().is_empty() && !format!("{:?}", spans.spans()).contains("secret"));
}

#[tokio::test]
async fn the_span_lives_as_long_as_the_answer_and_holds_what_is_logged_below() {
    let model = acts(|_| {
        tracing::info!(target: "layers", "asked");
        let answer = stream::iter([part("a"), part("b")]);
        Ok(answer.inspect(|_| tracing::info!(target: "layers", "read")).boxed())
    });
    let (model, spans) = (Telemetry::new(model), Spans::keep());
    let mut stream = model.stream(ask("hello")).await.unwrap();
    stream.next().await.unwrap().unwrap();
    assert!(spans.spans()[0].is_open);
    drop(stream);
    assert!(!spans.spans()[0].is_open);
    assert_eq!(field(&spans.spans()[0], "error.type"), Some("cancelled"));
    assert_eq!(spans.events().iter().filter(|event| event.within == Some("chat")).count(), 2);
    events(&model, ask("hello")).await;
    assert_eq!(field(&spans.spans()[1], "error.type"), Some("model_cut_off"));
}

#[tokio::test(start_paused = true)]
async fn every_end_has_its_error_type() {
    let model = acts(|call| match call {
        0 => Err(gone()),
        1 => answer(vec![part("a"), Err(gone().with_code("later"))]),
        _ => answer(vec![part("a")]),
    });
    let metrics = ModelMetrics::default();
    let telemetry = Telemetry::new(model).with_metrics(metrics.clone());
    let stuck = Telemetry::new(Slow::new(100, 0).0).with_metrics(metrics.clone());
    let spans = Spans::keep();
    for _ in 0..3 {
        events(&telemetry, ask("hello")).await;
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), stuck.stream(ask("hello"))).await;
    let types: Vec<_> = spans.spans().iter().map(|span| span.fields["error.type"].clone()).collect();
    assert_eq!(types, ["model_unavailable", "later", "model_cut_off", "cancelled"]);
    let counted = metrics.snapshot().into_iter().filter_map(|series| series.error_type);
    let mut counted: Vec<String> = counted.collect();
    counted.sort();
    assert_eq!(counted, ["cancelled", "later", "model_cut_off", "model_unavailable"]);
}

#[tokio::test]
async fn content_is_told_only_where_it_is_asked_for() {
    let model = acts(|_| {
        let call = ModelEvent::Call(ToolCall::new("c1", "add", "{\"a\":1}"));
        let thought = ModelEvent::Reasoning(Reasoning::text("hm"));
        answer(vec![Ok(thought), part("se"), part("cret"), Ok(call), done()])
    });
    let model = Telemetry::new(model).with_content(true);
    let mut request = ask("what?");
    request.messages.push(Message::assistant("", vec![ToolCall::new("c0", "add", "not JSON")]));
    request.messages.push(Message::tool("c0", "add", "3"));
    let spans = Spans::keep();
    events(&model, request).await;
    let [input, output] = spans.events().try_into().unwrap();
    assert_eq!(input.name, "gen_ai.client.inference.operation.details");
    assert_eq!((input.within, output.within), (Some("chat"), Some("chat")));
    let read = |told: &Told, name: &str| -> Value { serde_json::from_str(&told.fields[name]).unwrap() };
    assert_eq!(
        read(&input, "gen_ai.input.messages"),
        json!([
            {"role": "user", "parts": [{"type": "text", "content": "what?"}]},
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "c0", "name": "add", "arguments": "not JSON"}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c0", "response": "3"}]},
        ])
    );
    assert_eq!(
        read(&output, "gen_ai.output.messages"),
        json!([{"role": "assistant", "finish_reason": "stop", "parts": [
            {"type": "reasoning", "content": "hm"},
            {"type": "text", "content": "secret"},
            {"type": "tool_call", "id": "c1", "name": "add", "arguments": {"a": 1}},
        ]}])
    );
}

#[tokio::test(start_paused = true)]
async fn metrics_count_what_calls_took_and_used() {
    let metrics = ModelMetrics::default();
    let model = Telemetry::new(Slow::new(2, 3).0).with_metrics(metrics.clone());
    for _ in 0..4 {
        events(&model, ask("hello")).await;
    }
    let series = metrics.snapshot();
    let shown: Vec<_> = series
        .iter()
        .map(|one| (one.metric, one.token_type, one.histogram.count(), one.histogram.sum.round()))
        .collect();
    assert_eq!(
        shown,
        [
            (Metric::OperationDuration, None, 4, 20.0),
            (Metric::TimeToFirstChunk, None, 4, 8.0),
            (Metric::TokenUsage, Some("input"), 4, 12.0),
            (Metric::TokenUsage, Some("output"), 4, 8.0),
        ]
    );
    assert!(series.iter().all(|one| (&*one.provider, &*one.model) == ("test", "slow")));
    let text = metrics.to_prometheus();
    for line in [
        "# TYPE gen_ai_client_operation_duration_seconds histogram",
        "gen_ai_client_operation_duration_seconds_bucket{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"test\",gen_ai_request_model=\"slow\",le=\"2.56\"} 0",
        "gen_ai_client_operation_duration_seconds_bucket{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"test\",gen_ai_request_model=\"slow\",le=\"5.12\"} 4",
        "gen_ai_client_operation_duration_seconds_bucket{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"test\",gen_ai_request_model=\"slow\",le=\"+Inf\"} 4",
        "gen_ai_client_operation_time_to_first_chunk_seconds_count{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"test\",gen_ai_request_model=\"slow\"} 4",
        "gen_ai_client_token_usage_sum{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"test\",gen_ai_request_model=\"slow\",gen_ai_token_type=\"input\"} 12",
        "gen_ai_client_token_usage_bucket{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"test\",gen_ai_request_model=\"slow\",gen_ai_token_type=\"output\",le=\"1\"} 0",
        "gen_ai_client_token_usage_bucket{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"test\",gen_ai_request_model=\"slow\",gen_ai_token_type=\"output\",le=\"4\"} 4",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }
    assert_eq!(text.matches("# TYPE ").count(), 3);
}

/// A model of any name, which fails with a code of that name.
#[derive(Debug)]
struct Named(String);

#[async_trait]
impl LanguageModel for Named {
    fn info(&self) -> ModelInfo {
        ModelInfo::rules("test", &self.0)
    }

    async fn stream(&self, _: ModelRequest) -> Result<ModelStream> {
        Err(gone().with_code(self.0.clone()))
    }
}

#[tokio::test]
async fn models_without_number_are_counted_together() {
    let metrics = ModelMetrics::default();
    for number in 0..1000 {
        let model = Arc::new(Named(format!("a \"quoted\" name\\{number}\n")));
        events(&Telemetry::new(model).with_metrics(metrics.clone()), ask("hello")).await;
    }
    let series = metrics.snapshot();
    assert_eq!(series.len(), 65);
    let others = series.iter().find(|one| one.model == "_OTHER").unwrap();
    assert_eq!((others.error_type.as_deref(), others.histogram.count()), (Some("_OTHER"), 1000 - 64));
    let text = metrics.to_prometheus();
    assert!(text.contains("gen_ai_request_model=\"a \\\"quoted\\\" name\\\\7\\n\""), "{text}");
    assert!(text.lines().all(|line| line.starts_with('#') || line.starts_with("gen_ai_")));
}
