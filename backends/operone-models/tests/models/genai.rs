//! The adapter of `genai` against servers that speak two of its protocols.

use genai::adapter::AdapterKind;
use genai::resolver::{AuthData, Endpoint, ServiceTargetResolver};
use genai::{ModelIden, ServiceTarget};
use operone_core::model::{FinishReason, Message, ModelOption, ModelRequest, ModelSettings, ToolCall, Usage};
use operone_core::tool::ToolSpec;
use operone_core::{Error, ErrorKind};
use operone_models::GenAiModel;
use serde_json::{Value, json};

use crate::fake::{Reply, Server};
use crate::{Answer, parts, whole};

fn model(server: &Server, kind: AdapterKind) -> GenAiModel {
    let address = format!("{}/", server.base_url);
    let here = move |target: ServiceTarget| -> Result<ServiceTarget, genai::resolver::Error> {
        Ok(ServiceTarget {
            endpoint: Endpoint::from_owned(address.clone()),
            auth: AuthData::from_single("sk-very-secret"),
            model: ModelIden::new(kind, target.model.model_name),
        })
    };
    let resolver = ServiceTargetResolver::from_resolver_fn(here);
    let client = GenAiModel::client().unwrap().with_service_target_resolver(resolver).build().unwrap();
    GenAiModel::new(client, "tiny")
}

fn request() -> ModelRequest {
    ModelRequest::new(vec![Message::user("hello")]).with_tools(vec![ToolSpec::new("file.read", "Reads")])
}

fn events(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect::<String>() + "data: [DONE]\n\n"
}

fn delta(delta: Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finished(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}],
        "usage": {"prompt_tokens": 48, "completion_tokens": 4, "total_tokens": 52}})
}

async fn answer(reply: Reply) -> Result<Answer, Error> {
    let server = Server::start(move |_, _| reply.clone()).await;
    whole(parts(&model(&server, AdapterKind::OpenAI), request()).await)
}

#[tokio::test]
async fn text_and_calls_come_whole() {
    let call =
        json!({"index": 0, "id": "a", "function": {"name": "file_read", "arguments": "{\"path\":\"ü\"}"}});
    let body = events(&[
        delta(json!({"content": "Rea"})),
        delta(json!({"content": "ding."})),
        delta(json!({"tool_calls": [call]})),
        finished("tool_calls"),
    ]);
    let told = answer(Reply { piece: 7, ..Reply::events(body) }).await.unwrap();
    assert_eq!((told.text.as_str(), told.reason), ("Reading.", FinishReason::ToolCalls));
    assert_eq!(told.calls, [ToolCall::new("a", "file.read", "{\"path\":\"ü\"}")]);
    assert_eq!(told.usage, Usage::new(48, 4));
    let cut = format!("data: {}\n\n", delta(json!({"content": "a"})));
    assert_eq!(answer(Reply::events(cut)).await.unwrap_err().code(), "model_cut_off");
}

#[tokio::test]
async fn errors_are_told_apart() {
    let limited =
        Reply::json(429, &json!({"error": {"message": "slow down"}})).with_header("Retry-After", "7");
    let error = answer(limited).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::RateLimited, "rate_limited"));
    assert_eq!(error.retry_after().map(|wait| wait.as_secs()), Some(7));
    for (status, code) in [(401, "model_key_refused"), (404, "model_not_found"), (503, "model_unavailable")] {
        let error = answer(Reply::json(status, &json!({"error": {"message": "no"}}))).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(!format!("{error} {error:?}").contains("sk-very-secret"));
    }
}

#[tokio::test]
async fn a_seed_is_refused_unless_the_service_is_known_to_take_it() {
    let server =
        Server::start(|_, _| Reply::events(events(&[delta(json!({"content": "a"})), finished("stop")])))
            .await;
    let careful = model(&server, AdapterKind::OpenAI);
    let error = parts(&careful, request().with_settings(ModelSettings::default().with_seed(7)))
        .await
        .remove(0)
        .unwrap_err();
    assert_eq!(error.code(), "unsupported_option");
    let told = careful.with_unsupported(Vec::<ModelOption>::new());
    assert!(
        whole(parts(&told, request().with_settings(ModelSettings::default().with_seed(7))).await).is_ok()
    );
    assert_eq!(server.requests()[0].body["seed"], 7);
}

mod conformance {
    use std::sync::Arc;

    use operone_core::model::LanguageModel;

    use super::*;

    async fn fresh() -> (Arc<dyn LanguageModel>, Server) {
        let server = Server::start(|_, request| {
            let last = request.body["messages"].as_array().unwrap().last().unwrap();
            let may = request.body["tools"].is_array() && request.body["tool_choice"] != "none";
            let chunks = if request.body["response_format"].is_object() {
                vec![delta(json!({"content": "{\"city\": \"Lisbon\"}"})), finished("stop")]
            } else if may && last["role"] != "tool" {
                let call =
                    json!({"index": 0, "id": "a", "function": {"name": "file_read", "arguments": "{}"}});
                vec![delta(json!({"tool_calls": [call]})), finished("tool_calls")]
            } else {
                vec![delta(json!({"content": "Lis"})), delta(json!({"content": "bon."})), finished("stop")]
            };
            Reply { piece: 11, ..Reply::events(events(&chunks)) }
        })
        .await;
        (Arc::new(model(&server, AdapterKind::OpenAI)), server)
    }

    operone_core::language_model_conformance!(fresh);
}
