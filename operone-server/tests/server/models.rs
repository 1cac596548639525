//! `models pull`: fetched whole and checked, resumed, and refused; and the embedder that is asked for.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::support::{command, folder};

/// A server of files over HTTP, with ranges. Keeps the requests that it got.
struct Files {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Files {
    /// Serves each path with its content; the first `breaks` answers end in the middle.
    fn serve(files: &[(&str, &[u8])], mut breaks: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/minilm", listener.local_addr().unwrap());
        let files: Vec<(String, Vec<u8>)> =
            files.iter().map(|(name, content)| (format!("/minilm/{name}"), content.to_vec())).collect();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for mut connection in listener.incoming().map_while(Result::ok) {
                let lines = BufReader::new(connection.try_clone().unwrap()).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let path = head[0].split(' ').nth(1).unwrap().to_owned();
                let from = head.iter().find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("range: bytes=")?
                        .strip_suffix('-')?
                        .parse::<usize>()
                        .ok()
                });
                kept.lock().unwrap().push(format!("{path} {}", from.unwrap_or(0)));
                let Some((_, content)) = files.iter().find(|(name, _)| *name == path) else {
                    let _ = connection.write_all(
                        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    );
                    continue;
                };
                let (start, total) = (from.unwrap_or(0), content.len());
                if start >= total && from.is_some() {
                    let head = format!(
                        "HTTP/1.1 416 Range Not Satisfiable\r\ncontent-range: bytes */{total}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    );
                    let _ = connection.write_all(head.as_bytes());
                    continue;
                }
                let rest = &content[start..];
                let status = match from {
                    Some(_) => {
                        format!("206 Partial Content\r\ncontent-range: bytes {start}-{}/{total}", total - 1)
                    }
                    None => "200 OK".to_owned(),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    rest.len()
                );
                let sent = if breaks > 0 { rest.len() / 2 } else { rest.len() };
                breaks = breaks.saturating_sub(1);
                let _ = connection.write_all(head.as_bytes());
                let _ = connection.write_all(&rest[..sent]);
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn content() -> Vec<u8> {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// Pulls a model of one file.
fn pull(data: &Path, url: &str, name: &str, content: &[u8]) -> Output {
    let file = format!("{name}={}", hash(content));
    run(data, &["models", "pull", "own", "--from", url, "--sha256", &file])
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    command(data, arguments, &[]).stderr(Stdio::piped()).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_model_is_fetched_once_and_checked_again() {
    let (data, content) = (folder(), content());
    let files = Files::serve(&[("model.bin", &content), ("1_Pooling/config.json", b"{}")], 0);
    let manifest = data.path().join("manifest.json");
    let written = serde_json::json!({
        "from": files.url, "files": {"model.bin": hash(&content), "1_Pooling/config.json": hash(b"{}")},
    });
    std::fs::write(&manifest, written.to_string()).unwrap();
    let arguments = ["models", "pull", "own", "--manifest", manifest.to_str().unwrap()];

    let output = run(data.path(), &arguments);
    assert!(output.status.success(), "{}", said(&output));
    let model = data.path().join("models/own");
    assert_eq!(std::fs::read(model.join("model.bin")).unwrap(), content);
    assert_eq!(std::fs::read(model.join("1_Pooling/config.json")).unwrap(), b"{}");
    assert!(!model.join("model.bin.part").exists());
    assert!(said(&output).contains("--embedder own"), "{}", said(&output));
    assert_eq!(files.requests().len(), 2);

    let output = run(data.path(), &arguments);
    assert!(output.status.success() && files.requests().is_empty(), "{}", said(&output));

    std::fs::write(model.join("model.bin"), "spoiled").unwrap();
    assert!(run(data.path(), &arguments).status.success());
    assert_eq!(files.requests(), ["/minilm/model.bin 0"]);
    assert_eq!(std::fs::read(model.join("model.bin")).unwrap(), content);
}

#[test]
fn a_transfer_that_broke_off_goes_on_where_it_was() {
    let (data, content) = (folder(), content());
    let files = Files::serve(&[("model.bin", &content)], 1);
    let output = pull(data.path(), &files.url, "model.bin", &content);
    assert!(output.status.success(), "{}", said(&output));
    let half = content.len() / 2;
    assert_eq!(files.requests(), ["/minilm/model.bin 0".to_owned(), format!("/minilm/model.bin {half}")]);
    assert_eq!(std::fs::read(data.path().join("models/own/model.bin")).unwrap(), content);
}

#[test]
fn a_part_from_before_is_used_unless_it_is_of_another_file() {
    for (part, requests) in [
        (content()[..1000].to_vec(), vec!["/minilm/model.bin 1000"]),
        (vec![7; 1000], vec!["/minilm/model.bin 1000", "/minilm/model.bin 0"]),
        (vec![7; 2_000_000], vec!["/minilm/model.bin 2000000", "/minilm/model.bin 0"]),
    ] {
        let (data, content) = (folder(), content());
        let files = Files::serve(&[("model.bin", &content)], 0);
        let model = data.path().join("models/own");
        std::fs::create_dir_all(&model).unwrap();
        std::fs::write(model.join("model.bin.part"), part).unwrap();
        let output = pull(data.path(), &files.url, "model.bin", &content);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(std::fs::read(model.join("model.bin")).unwrap(), content);
        assert_eq!(files.requests(), requests);
    }
}

#[test]
fn a_wrong_file_is_refused_and_not_kept() {
    let (data, content) = (folder(), content());
    let files = Files::serve(&[("model.bin", b"something else")], 0);
    let output = pull(data.path(), &files.url, "model.bin", &content);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains(&hash(b"something else")), "{}", said(&output));
    assert_eq!(std::fs::read_dir(data.path().join("models/own")).unwrap().count(), 0);

    let output = pull(data.path(), &files.url, "missing.bin", &content);
    assert!(
        output.status.code() == Some(2) && said(&output).contains("there is nothing at"),
        "{}",
        said(&output)
    );
}

#[test]
fn what_cannot_be_pulled_is_said_before_anything_is_fetched() {
    let data = folder();
    let hash = hash(b"");
    for (arguments, expected) in [
        (vec!["unknown"], "all-minilm-l6-v2"),
        (vec!["../own", "--from", "http://127.0.0.1:1/", "--sha256", &format!("a={hash}")], "letters"),
        (vec!["own", "--from", "http://127.0.0.1:1/", "--sha256", &format!("../a={hash}")], "'../a'"),
        (vec!["own", "--from", "http://127.0.0.1:1/", "--sha256", "a=12"], "SHA-256"),
        (vec!["own", "--sha256", &format!("a={hash}")], "--from"),
    ] {
        let output = run(data.path(), &[vec!["models", "pull"], arguments.clone()].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(expected), "{}", said(&output));
    }
    assert!(!data.path().join("models").exists());
}

#[test]
fn an_embedder_that_is_not_there_is_refused_with_what_to_do() {
    let data = folder();
    let output = run(data.path(), &["--embedder", "all-minilm-l6-v2"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let expected = if cfg!(feature = "local-models") { "models pull" } else { "--features local-models" };
    assert!(said(&output).contains(expected), "{}", said(&output));
}

#[cfg(feature = "local-models")]
mod with_local_model {
    use serde_json::json;

    use crate::support::{Server, file, folder};

    #[test]
    #[ignore = "needs a model's folder"]
    fn a_server_finds_by_meaning_with_a_local_model() {
        let model =
            std::env::var("OPERONE_TEST_LOCAL_MODEL").expect("OPERONE_TEST_LOCAL_MODEL names a folder");
        let data = folder();
        let server = Server::start_with(data.path(), &["--embedder", &model], &[]);
        let id = server.get("/info").json()["embedder"]["id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("bert-384-"), "{id}");
        let cats = file(data.path(), "cats.txt", "A kitten was asleep on the couch.");
        let money = file(data.path(), "money.txt", "The company's turnover went up.");
        server.ingest(&[&cats, &money]);
        let found =
            server.post("/rag/query", json!({"query": "revenue growth of the firm", "top_k": 1})).json();
        assert!(found["results"][0]["source"]["uri"].as_str().unwrap().ends_with("money.txt"), "{found}");
    }
}
