//! The file tools and the file source on a real file system, hostile paths included.

#![cfg(unix)]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod escapes;
mod race;
mod write;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use operone_core::source::Source;
use operone_core::tool::{ToolContext, ToolHandle, ToolSet};
use operone_core::{Error, ErrorKind};
use operone_files::{FileRoot, FileSource};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder `root` with files, beside a folder `root-not` and a file that may not be read.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let at = |path: &str| place.path().join(path);
    fs::create_dir_all(at("root/sub")).unwrap();
    fs::create_dir(at("root-not")).unwrap();
    fs::write(at("secret.txt"), "secret").unwrap();
    fs::write(at("root-not/secret.txt"), "secret").unwrap();
    fs::write(at("root/notes.txt"), "Grüße\n").unwrap();
    fs::write(at("root/sub/Über uns 100%.md"), "wir").unwrap();
    symlink("notes.txt", at("root/inside.txt")).unwrap();
    symlink("../secret.txt", at("root/escape.txt")).unwrap();
    symlink(at("secret.txt"), at("root/absolute.txt")).unwrap();
    symlink("..", at("root/up")).unwrap();
    symlink("/proc/self/environ", at("root/environ")).unwrap();
    symlink("loop", at("root/loop")).unwrap();
    assert!(Command::new("mkfifo").arg(at("root/pipe")).status().unwrap().success());
    drop(UnixListener::bind(at("root/socket")).unwrap());
    place
}

async fn tool(root: impl AsRef<Path>, name: &str) -> ToolHandle {
    let tools = FileRoot::open(root).unwrap().tools().await.unwrap();
    tools.into_iter().find(|tool| tool.spec().name == name).unwrap()
}

async fn call(place: &TempDir, name: &str, input: Value) -> Result<Value, Error> {
    let tool = tool(place.path().join("root"), name).await;
    let context = ToolContext::default();
    let called = tool.call(&context, input);
    tokio::time::timeout(std::time::Duration::from_secs(10), called).await.expect("the tool hangs")
}

async fn read(place: &TempDir, path: &str) -> Result<Value, Error> {
    call(place, "file.read", json!({"path": path})).await
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.expect_err("it was allowed").code().to_owned()
}

#[tokio::test]
async fn files_in_the_folder_are_read() {
    let place = place();
    let whole = json!({"path": "notes.txt", "content": "Grüße\n", "bytes": 8, "truncated": false});
    assert_eq!(read(&place, "notes.txt").await.unwrap(), whole);
    let absolute = place.path().join("root/notes.txt");
    for path in ["./sub/../notes.txt", "inside.txt", absolute.to_str().unwrap()] {
        assert_eq!(read(&place, path).await.unwrap()["content"], "Grüße\n", "{path}");
    }
    assert_eq!(read(&place, "sub/Über uns 100%.md").await.unwrap()["content"], "wir");
}

#[tokio::test]
async fn nothing_outside_of_the_folder_is_read_or_listed() {
    let place = place();
    let outside = place.path().join("secret.txt");
    let beside = place.path().join("root-not/secret.txt");
    let above = place.path().join("root/../secret.txt");
    for path in [
        "../secret.txt",
        "sub/../../secret.txt",
        "escape.txt",
        "absolute.txt",
        "up/secret.txt",
        "up/root/notes.txt",
        "environ",
        "/proc/self/environ",
        "/etc/passwd",
        outside.to_str().unwrap(),
        beside.to_str().unwrap(),
        above.to_str().unwrap(),
    ] {
        let error = read(&place, path).await.expect_err(path);
        assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, "outside_root"), "{path}");
    }
    for path in ["..", "up", "/", "/etc", "sub/../.."] {
        assert_eq!(code(call(&place, "file.list", json!({"path": path})).await), "outside_root", "{path}");
    }
    // A tool's path is no URI: nothing is decoded.
    assert_eq!(code(read(&place, "..%2fsecret.txt").await), "not_found");
}

#[tokio::test]
async fn only_regular_files_are_read() {
    let place = place();
    for path in ["pipe", "socket", "sub", ".", ""] {
        assert_eq!(code(read(&place, path).await), "not_a_file", "{path}");
    }
    assert_eq!(code(read(&place, "missing.txt").await), "not_found");
    assert_eq!(code(read(&place, "notes.txt/x").await), "not_found");
    assert_eq!(code(read(&place, "loop").await), "unreadable");
    assert_eq!(code(read(&place, "a\0b").await), "invalid_path");
    let device = tool("/dev", "file.read").await;
    assert_eq!(code(device.call(&ToolContext::default(), json!({"path": "zero"})).await), "not_a_file");
    #[cfg(target_os = "linux")]
    {
        let kernel = tool("/proc", "file.read").await;
        assert_eq!(
            code(kernel.call(&ToolContext::default(), json!({"path": "version"})).await),
            "not_a_file"
        );
    }
}

#[tokio::test]
async fn a_long_file_is_read_in_parts() {
    let place = place();
    let text = "ü".repeat(200_000) + "\u{1f642}";
    fs::write(place.path().join("root/long.txt"), &text).unwrap();
    let (mut offset, mut found, mut parts) = (0, String::new(), 0);
    loop {
        let input = json!({"path": "long.txt", "offset": offset, "limit": 200_001});
        let part = call(&place, "file.read", input).await.unwrap();
        found.push_str(part["content"].as_str().unwrap());
        offset += part["bytes"].as_u64().unwrap();
        parts += 1;
        if part["truncated"] == false {
            break;
        }
    }
    assert_eq!((found == text, parts), (true, 3), "cut on characters, nothing lost");
    let whole = call(&place, "file.read", json!({"path": "long.txt", "limit": u64::MAX >> 1})).await.unwrap();
    assert_eq!((&whole["bytes"], &whole["truncated"]), (&json!(262_144), &json!(true)));
    let beyond = call(&place, "file.read", json!({"path": "long.txt", "offset": 1_000_000})).await.unwrap();
    assert_eq!((&beyond["content"], &beyond["truncated"]), (&json!(""), &json!(false)));
}

#[tokio::test]
async fn bytes_that_are_no_text_are_replaced() {
    let place = place();
    fs::write(place.path().join("root/binary"), b"a\xff\xfeb").unwrap();
    assert_eq!(read(&place, "binary").await.unwrap()["content"], "a\u{fffd}\u{fffd}b");
}

#[tokio::test]
async fn a_folder_is_listed_by_name() {
    let place = place();
    let listed = call(&place, "file.list", json!({})).await.unwrap();
    let kinds: Vec<(&str, &str)> = listed["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["name"].as_str().unwrap(), entry["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("absolute.txt", "link"),
            ("environ", "link"),
            ("escape.txt", "link"),
            ("inside.txt", "link"),
            ("loop", "link"),
            ("notes.txt", "file"),
            ("pipe", "other"),
            ("socket", "other"),
            ("sub", "folder"),
            ("up", "link"),
        ]
    );
    assert_eq!(listed["entries"][5]["bytes"], 8);
    assert_eq!(code(call(&place, "file.list", json!({"path": "notes.txt"})).await), "not_a_folder");
    assert_eq!(code(call(&place, "file.list", json!({"path": "missing"})).await), "not_found");
}

#[tokio::test]
async fn a_folder_of_many_is_cut_by_name() {
    let place = place();
    let many = place.path().join("root/many");
    fs::create_dir(&many).unwrap();
    for number in (0..1005).rev() {
        fs::write(many.join(format!("{number:05}")), "").unwrap();
    }
    let listed = call(&place, "file.list", json!({"path": "many"})).await.unwrap();
    let entries = listed["entries"].as_array().unwrap();
    assert_eq!((entries.len(), &listed["truncated"]), (1000, &json!(true)));
    assert_eq!((&entries[0]["name"], &entries[999]["name"]), (&json!("00000"), &json!("00999")));
}

fn uri(place: &TempDir, path: &str) -> String {
    format!("file://{}/{path}", place.path().to_str().unwrap())
}

async fn fetch(source: &FileSource, uri: &str) -> Result<Vec<u8>, Error> {
    let fetched = tokio::time::timeout(std::time::Duration::from_secs(10), source.fetch(uri)).await;
    Ok(fetched.expect("the source hangs")?.bytes)
}

#[tokio::test]
async fn a_source_gives_bytes_name_and_time() {
    let place = place();
    for source in [FileSource::any_readable(), FileSource::below([place.path().join("root")])] {
        let fetched = source.fetch(&uri(&place, "root/sub/%C3%9Cber uns%20100%25.md")).await.unwrap();
        assert_eq!((fetched.bytes.as_slice(), fetched.name.as_str()), (&b"wir"[..], "Über uns 100%.md"));
        let age = fetched.modified.unwrap().since(operone_core::clock::Timestamp::from_millis(0));
        assert!(age.as_secs() > 1_600_000_000);
        assert_eq!(source.schemes(), ["file"]);
        let spelled = source.normalize("file://localhost/a/../b c").unwrap();
        assert_eq!(spelled, "file:///b%20c");
    }
}

#[tokio::test]
async fn any_readable_file_but_none_of_the_kernel() {
    let place = place();
    let source = FileSource::any_readable();
    assert_eq!(fetch(&source, &uri(&place, "root/escape.txt")).await.unwrap(), b"secret");
    for path in
        ["/proc/self/environ", "/proc/version", "/dev/zero", "/sys/kernel/notes", "/x/..%2fproc/version"]
    {
        let refused = code(fetch(&source, &format!("file://{path}")).await);
        assert!(refused == "denied" || refused == "not_found", "{path}: {refused}");
    }
    assert_eq!(code(fetch(&source, &uri(&place, "root/environ")).await), "denied");
    assert_eq!(code(fetch(&source, &uri(&place, "root/pipe")).await), "not_a_file");
    assert_eq!(code(fetch(&source, &uri(&place, "root")).await), "not_a_file");
    assert_eq!(code(fetch(&source, "file:///").await), "not_a_file");
    assert_eq!(code(fetch(&source, &uri(&place, "missing")).await), "not_found");
    assert_eq!(code(fetch(&source, "file://other/etc/passwd").await), "invalid_uri");
}

#[tokio::test]
async fn below_folders_nothing_leads_out() {
    let place = place();
    let source = FileSource::below([place.path().join("none"), place.path().join("root")]);
    assert_eq!(fetch(&source, &uri(&place, "root/inside.txt")).await.unwrap(), "Grüße\n".as_bytes());
    for path in [
        "secret.txt",
        "root-not/secret.txt",
        "root/../secret.txt",
        "root/..%2fsecret.txt",
        "root/%2e%2e/secret.txt",
        "root/escape.txt",
        "root/absolute.txt",
        "root/up/secret.txt",
        "root/environ",
    ] {
        let error = fetch(&source, &uri(&place, path)).await.expect_err(path);
        assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, "denied"), "{path}");
    }
    assert_eq!(code(fetch(&source, &uri(&place, "root/pipe")).await), "not_a_file");
    assert_eq!(code(fetch(&source, &uri(&place, "root/missing")).await), "not_found");
    let none = FileSource::below(Vec::<std::path::PathBuf>::new());
    let error = fetch(&none, &uri(&place, "root/notes.txt")).await.unwrap_err();
    assert_eq!((error.code(), error.message()), ("denied", "no folder is allowed to be read from"));
}

#[tokio::test]
async fn a_file_beyond_the_limit_is_refused() {
    let place = place();
    let path = place.path().join("root/large");
    let file = fs::File::create(&path).unwrap();
    file.set_len(64 * 1024 * 1024 + 1).unwrap();
    for source in [FileSource::any_readable(), FileSource::below([place.path().join("root")])] {
        assert_eq!(code(fetch(&source, &uri(&place, "root/large")).await), "too_large");
    }
    file.set_len(64 * 1024 * 1024).unwrap();
    let whole = fetch(&FileSource::any_readable(), &uri(&place, "root/large")).await.unwrap();
    assert_eq!(whole.len(), 64 * 1024 * 1024);
}

#[test]
fn a_root_must_be_a_folder() {
    let place = place();
    assert_eq!(code(FileRoot::open(place.path().join("missing"))), "not_found");
    assert_eq!(code(FileRoot::open(place.path().join("root/notes.txt"))), "not_found");
}

mod conformance {
    mod file_read {
        use std::sync::Arc;

        use operone_core::conformance::tool::ToolUnderTest;
        use serde_json::json;

        async fn fresh() -> (Arc<ToolUnderTest>, tempfile::TempDir) {
            let place = super::super::place();
            let tool = super::super::tool(place.path().join("root"), "file.read").await;
            (Arc::new(ToolUnderTest::new(tool, json!({"path": "notes.txt"}), json!({"path": 1}))), place)
        }

        operone_core::tool_conformance!(fresh);
    }

    mod file_list {
        use std::sync::Arc;

        use operone_core::conformance::tool::ToolUnderTest;
        use serde_json::json;

        async fn fresh() -> (Arc<ToolUnderTest>, tempfile::TempDir) {
            let place = super::super::place();
            let tool = super::super::tool(place.path().join("root"), "file.list").await;
            (Arc::new(ToolUnderTest::new(tool, json!({"path": "sub"}), json!({"path": []}))), place)
        }

        operone_core::tool_conformance!(fresh);
    }
}
