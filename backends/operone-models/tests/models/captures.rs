//! What real servers said, recorded, split and cut off at every byte.

/// Reads the folder `shared/samples` beside the checkout.
mod with_data {
    use std::path::PathBuf;
    use std::sync::Arc;

    use futures_util::{StreamExt, stream};
    use operone_core::Error;
    use operone_core::model::{FinishReason, LanguageModel, Message, ModelRequest, ToolCall, Usage};
    use operone_core::tool::ToolSpec;
    use operone_models::{Anthropic, OpenAiCompatible, ServiceConfig};

    use crate::fake::{Reply, Server};
    use crate::{Answer, parts, whole};

    fn capture(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/samples/llm/captures");
        std::fs::read(PathBuf::from(folder).join(name)).unwrap()
    }

    fn model(name: &str, server: &Server) -> Arc<dyn LanguageModel> {
        let config = ServiceConfig::new(&server.base_url, "tiny");
        if name.starts_with("messages") {
            Arc::new(Anthropic::new(config).unwrap())
        } else {
            Arc::new(OpenAiCompatible::new(config).unwrap())
        }
    }

    fn request() -> ModelRequest {
        ModelRequest::new(vec![Message::user("What is the weather in Paris?")])
            .with_tools(vec![ToolSpec::new("get_weather", "Weather of a city")])
    }

    fn expected(name: &str) -> Answer {
        let (text, arguments, reason, usage) = match name {
            "chat_plain.sse" => ("Ok!", None, FinishReason::Stop, Usage::default()),
            "chat_usage.sse" => ("Ok!", None, FinishReason::Stop, Usage::new(48, 4)),
            "chat_tool_result.sse" => ("Ok!", None, FinishReason::Stop, Usage::new(496, 4)),
            "messages_plain.sse" => ("Ok!", None, FinishReason::Stop, Usage::new(48, 4)),
            _ => ("", Some(()), FinishReason::ToolCalls, Usage::new(398, 67)),
        };
        let call = |()| ToolCall::new("id", "get_weather", "{\"city\":\"Paris\",\"note\":\"\"}");
        let calls = arguments.map(call).into_iter().collect();
        Answer { text: text.into(), reasoning: Vec::new(), calls, reason, usage }
    }

    /// The ids of calls are the service's own, new at each call.
    fn without_ids(mut answer: Answer) -> Answer {
        for call in &mut answer.calls {
            assert!(!call.id.is_empty());
            call.id = "id".into();
        }
        answer
    }

    const CAPTURES: [&str; 6] = [
        "chat_plain.sse",
        "chat_usage.sse",
        "chat_tool_result.sse",
        "chat_tools.sse",
        "messages_plain.sse",
        "messages_tools.sse",
    ];

    /// Asks once for each offset into a capture, several at a time; the server is told the offset by the question.
    async fn at_every_offset(
        name: &'static str,
        reply: impl Fn(&[u8], usize) -> Reply + Send + Sync + 'static,
    ) -> Vec<(usize, Result<Answer, Error>)> {
        let body = capture(name);
        let length = body.len();
        let server = Server::start(move |_, request| {
            let content = &request.body["messages"][0]["content"];
            let offset = content.as_str().or(content[0]["text"].as_str()).unwrap();
            reply(&body, offset.parse().unwrap())
        });
        let server = server.await;
        let model = model(name, &server);
        let ask = |offset: usize| {
            let (model, mut request) = (Arc::clone(&model), request());
            request.messages = vec![Message::user(offset.to_string())];
            tokio::spawn(async move { (offset, whole(parts(&*model, request).await)) })
        };
        let answers = stream::iter(0..length).map(ask).buffered(16);
        answers.map(Result::unwrap).collect().await
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs the data folder"]
    async fn an_answer_is_the_same_wherever_its_bytes_are_split() {
        for name in CAPTURES {
            let split = |body: &[u8], offset| Reply { split: Some(offset), ..Reply::events(body) };
            for (offset, answer) in at_every_offset(name, split).await {
                assert_eq!(without_ids(answer.unwrap()), expected(name), "{name} split at {offset}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs the data folder"]
    async fn an_answer_that_is_cut_off_at_any_byte_is_whole_or_an_error() {
        for (name, breaks) in CAPTURES.into_iter().zip([true, false].into_iter().cycle()) {
            let cut = move |body: &[u8], offset: usize| Reply {
                breaks,
                piece: body.len(),
                ..Reply::events(&body[..offset])
            };
            let answers = at_every_offset(name, cut).await;
            let (length, mut ended) = (answers.len(), 0);
            for (offset, answer) in answers {
                match answer {
                    Ok(answer) => {
                        let answer = without_ids(answer);
                        let usage = answer.usage;
                        // What the service says after the reason of the end may be missing, and nothing else.
                        assert_eq!(answer, Answer { usage, ..expected(name) }, "{name} cut at {offset}");
                        ended += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.code(), "model_cut_off", "{name} cut at {offset}: {error}");
                    }
                }
            }
            assert!(ended < length, "{name}: {ended} of {length} cuts are whole");
        }
    }

    #[tokio::test]
    #[ignore = "needs the data folder"]
    async fn what_was_broken_when_it_was_recorded_is_passed_on() {
        let body = capture("chat_noise.sse");
        let server = Server::start(move |_, _| Reply::events(body.clone())).await;
        let answer = whole(parts(&*model("chat_noise.sse", &server), request()).await).unwrap();
        assert!(answer.text.contains('\u{fffd}') && answer.reason == FinishReason::Length, "{answer:?}");
    }

    #[tokio::test]
    #[ignore = "needs the data folder"]
    async fn whole_answers_and_errors_are_understood() {
        for (name, text, calls) in [
            ("chat_plain_whole.json", "Ok!", 0),
            ("chat_tools_whole.json", "", 1),
            ("chat_json_schema.json", "{\"city\":\"Paris\",\"note\":\"\"}", 0),
        ] {
            let body = capture(name);
            let server = Server::start(move |_, _| Reply::new(200, "application/json", body.clone())).await;
            let answer = whole(parts(&*model(name, &server), request()).await).unwrap();
            assert_eq!((answer.text.as_str(), answer.calls.len()), (text, calls), "{name}");
        }
        for (name, code) in [
            ("error_context.txt", "context_length_exceeded"),
            ("error_key.txt", "model_key_refused"),
            ("error_messages.txt", "model_request_refused"),
            ("error_tools.txt", "model_unavailable"),
            ("error_embeddings.txt", "model_unavailable"),
        ] {
            let recorded = String::from_utf8(capture(name)).unwrap();
            let status: u16 = recorded.split(' ').nth(1).unwrap().parse().unwrap();
            let body = recorded.split_once("\r\n\r\n").or(recorded.split_once("\n\n")).unwrap().1.to_owned();
            let server =
                Server::start(move |_, _| Reply::new(status, "application/json", body.as_str())).await;
            let error = whole(parts(&*model(name, &server), request()).await).unwrap_err();
            assert_eq!(error.code(), code, "{name}: {error}");
        }
    }
}
