//! The embedder against a server that plays every turn the protocol is known to take.

use std::time::Duration;

use operone_core::embed::Embedder;
use operone_models::{OpenAiCompatibleEmbedder, Secret, ServiceConfig};
use serde_json::{Value, json};

use crate::fake::{Reply, Request, Server};

const KEY: &str = "sk-very-secret";

/// Vectors that tell the text's length, in the wrong order.
fn vectors(request: &Request) -> Reply {
    let texts = request.body["input"].as_array().unwrap();
    let item = |(index, text): (usize, &Value)| {
        let length = text.as_str().unwrap().len() as f64;
        json!({"object": "embedding", "index": index, "embedding": [length, 1.0, 0.0]})
    };
    let data: Vec<Value> = texts.iter().enumerate().map(item).rev().collect();
    Reply::json(200, &json!({"object": "list", "data": data, "model": "m", "usage": {}}))
}

fn config(server: &Server) -> ServiceConfig {
    ServiceConfig::new(&server.base_url, "tiny")
        .with_api_key(Some(Secret::new(KEY)))
        .with_retry_delay(Duration::from_millis(1))
}

fn texts(count: usize) -> Vec<String> {
    (1..=count).map(|length| "x".repeat(length)).collect()
}

#[tokio::test]
async fn vectors_come_in_the_order_of_the_texts_with_length_one() {
    let server = Server::start(|_, request| Reply { piece: 997, ..vectors(request) }).await;
    let embedder = OpenAiCompatibleEmbedder::connect(config(&server)).await.unwrap();
    assert_eq!((embedder.info().dimension, embedder.info().id.as_str()), (3, "openai:tiny"));
    let mut asked = texts(150);
    asked.insert(3, " ".to_owned());
    let found = embedder.embed(&asked).await.unwrap();
    assert_eq!((found.len(), &found[3]), (151, &None));
    for (text, vector) in asked.iter().zip(&found).filter(|(text, _)| *text != " ") {
        let vector = vector.as_ref().unwrap();
        let length: f32 = vector.iter().map(|number| number * number).sum();
        assert!((length - 1.0).abs() < 1e-5 && (vector[0] / vector[1] - text.len() as f32).abs() < 1e-2);
    }
    let sizes: Vec<usize> =
        server.requests().iter().map(|request| request.body["input"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [1, 64, 64, 22]);
    assert!(server.requests()[1].head.to_lowercase().contains("authorization: bearer sk-very-secret"));
    assert!(!format!("{embedder:?}").contains(KEY));
    let long = embedder.with_window(2);
    long.embed(&["one two three".to_owned()]).await.unwrap();
    assert_eq!(server.requests().last().unwrap().body["input"], json!(["one two"]));
}

#[tokio::test]
async fn only_the_part_that_failed_is_asked_for_again() {
    let server = Server::start(|before, request| match before {
        2 | 3 => Reply::json(503, &json!({"error": {"message": "busy"}})).with_header("Retry-After", "0"),
        _ => Reply { piece: 997, ..vectors(request) },
    })
    .await;
    let embedder = OpenAiCompatibleEmbedder::connect(config(&server)).await.unwrap();
    assert!(embedder.embed(&texts(100)).await.unwrap().iter().all(Option::is_some));
    let sizes: Vec<usize> =
        server.requests().iter().map(|request| request.body["input"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [1, 64, 36, 36, 36]);
}

#[tokio::test]
async fn what_is_wrong_is_said_and_not_tried_again() {
    let one = json!({"data": [{"index": 0, "embedding": [1.0]}]});
    for (reply, code) in [
        (Reply::json(401, &json!({"error": {"message": format!("wrong key {KEY}")}})), "model_key_refused"),
        (Reply::json(404, &json!({"error": "no such model"})), "model_not_found"),
        (Reply::json(200, &json!({"data": []})), "model_protocol_error"),
        (Reply::json(200, &one), "model_protocol_error"),
        (Reply::new(200, "text/html", "<html>"), "model_protocol_error"),
    ] {
        let server = Server::start(move |before, request| match before {
            0 => vectors(request),
            _ => Reply { piece: 997, ..reply.clone() },
        })
        .await;
        let embedder = OpenAiCompatibleEmbedder::connect(config(&server)).await.unwrap();
        let error = embedder.embed(&texts(2)).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(!format!("{error} {error:?}").contains(KEY));
        assert_eq!(server.requests().len(), 2, "{code}");
    }
    let gone = ServiceConfig::new("http://127.0.0.1:9/v1", "m").with_retry_delay(Duration::from_millis(1));
    assert_eq!(OpenAiCompatibleEmbedder::connect(gone).await.unwrap_err().code(), "model_unavailable");
}
