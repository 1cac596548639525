//! What `file.write` promises: whole files, repeats without effect, a quota that many writers keep together.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use operone_core::ErrorKind;
use operone_core::tool::{ToolClass, ToolContext, ToolHandle, ToolSet};
use operone_files::{FileRoot, Quota};
use serde_json::{Value, json};

use super::{call, code, place};

async fn writer(root: &Path, quota: Quota) -> ToolHandle {
    let tools = FileRoot::open(root).unwrap().with_quota(quota).tools().await.unwrap();
    tools.into_iter().find(|tool| tool.spec().name == "file.write").unwrap()
}

async fn write(tool: &ToolHandle, path: &str, content: &str) -> Result<Value, operone_core::Error> {
    tool.call(&ToolContext::default(), json!({"path": path, "content": content})).await
}

/// Every path below the folder, links not followed.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.to_string_lossy().into_owned());
        if path.is_dir() && !path.is_symlink() {
            found.extend(tree(&path));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_file_is_created_replaced_and_left_alone() {
    let place = place();
    let path = place.path().join("root/new/deep/report.md");
    for (mode, content, change) in [
        ("create", "one", "created"),
        ("create", "one", "unchanged"),
        ("replace", "two!", "replaced"),
        ("replace", "two!", "unchanged"),
        ("replace", "", "replaced"),
    ] {
        let input = json!({"path": "new/deep/report.md", "content": content, "mode": mode});
        let bytes = content.len();
        let written = call(&place, "file.write", input).await.unwrap();
        assert_eq!(written, json!({"path": "new/deep/report.md", "change": change, "bytes": bytes}));
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    let other = json!({"path": "notes.txt", "content": "x", "mode": "create"});
    let error = call(&place, "file.write", other).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "exists"));
    assert_eq!(fs::read_to_string(place.path().join("root/notes.txt")).unwrap(), "Grüße\n");
    // Left out, the mode is 'replace'; an absolute path below the root is one of the root.
    let absolute = place.path().join("root/notes.txt");
    let input = json!({"path": absolute, "content": "new"});
    assert_eq!(call(&place, "file.write", input).await.unwrap()["change"], "replaced");
    assert_eq!(fs::read_to_string(absolute).unwrap(), "new");
}

#[tokio::test]
async fn what_is_appended_is_appended_once() {
    let place = place();
    let path = place.path().join("root/log.txt");
    let append = |at: u64, content: &str| {
        call(&place, "file.write", json!({"path": "log.txt", "content": content, "mode": "append", "at": at}))
    };
    assert_eq!(append(0, "one\n").await.unwrap()["change"], "created");
    for change in ["appended", "unchanged"] {
        let written = append(4, "two\n").await.unwrap();
        assert_eq!((&written["change"], &written["bytes"]), (&json!(change), &json!(8)));
    }
    assert_eq!(append(8, "three\n").await.unwrap()["bytes"], 14);
    // A late repeat of an earlier one finds its content where it belongs.
    assert_eq!(append(4, "two\n").await.unwrap()["change"], "unchanged");
    for (at, content) in [(4, "other"), (15, "beyond"), (0, "first"), (u64::MAX, "far"), (8, "three\nfour\n")]
    {
        let error = append(at, content).await.unwrap_err();
        assert!(matches!(error.code(), "changed" | "quota_exceeded"), "{at}: {error}");
    }
    let error = append(4, "other").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "changed"));
    assert!(error.message().contains("14 bytes"), "says where to go on: {error}");
    assert_eq!(fs::read_to_string(path).unwrap(), "one\ntwo\nthree\n");
    let missing = json!({"path": "none.txt", "content": "x", "mode": "append", "at": 7});
    assert_eq!(code(call(&place, "file.write", missing).await), "changed");
    assert!(!place.path().join("root/none.txt").exists());
}

#[tokio::test]
async fn bytes_go_in_and_out_as_base64() {
    let place = place();
    let input = json!({"path": "image", "content": "/wABgA==", "encoding": "base64"});
    assert_eq!(call(&place, "file.write", input).await.unwrap()["bytes"], 4);
    assert_eq!(fs::read(place.path().join("root/image")).unwrap(), [0xff, 0, 1, 0x80]);
    let read = call(&place, "file.read", json!({"path": "image", "encoding": "base64"})).await.unwrap();
    assert_eq!((&read["content"], &read["bytes"]), (&json!("/wABgA=="), &json!(4)));
    let wrong = json!({"path": "wrong/image", "content": "no base64!", "encoding": "base64"});
    assert_eq!(code(call(&place, "file.write", wrong).await), "invalid_input");
    assert!(!place.path().join("root/wrong").exists());
}

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    let place = place();
    let root = place.path().join("root");
    fs::hard_link(place.path().join("secret.txt"), root.join("hard.txt")).unwrap();
    for path in ["inside.txt", "escape.txt", "absolute.txt", "environ", "loop", "up", "pipe", "socket", "sub"]
    {
        let refused = call(&place, "file.write", json!({"path": path, "content": "x"})).await;
        assert_eq!(code(refused), "not_a_file", "{path}");
    }
    assert_eq!(fs::read_to_string(root.join("notes.txt")).unwrap(), "Grüße\n");
    // The second name of an outside file becomes a file of its own.
    for (mode, at) in [("append", 6), ("replace", 0)] {
        let input = json!({"path": "hard.txt", "content": "mine", "mode": mode, "at": at});
        call(&place, "file.write", input).await.unwrap();
        assert_eq!(fs::read_to_string(place.path().join("secret.txt")).unwrap(), "secret");
    }
    assert_eq!(fs::read_to_string(root.join("hard.txt")).unwrap(), "mine");
}

#[tokio::test]
async fn permissions_stay_and_a_protected_file_is_refused() {
    let place = place();
    let path = place.path().join("root/notes.txt");
    for (mode, expected) in [(0o640, 0o640), (0o4750, 0o750)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        call(&place, "file.write", json!({"path": "notes.txt", "content": mode.to_string()})).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, expected);
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let refused = call(&place, "file.write", json!({"path": "notes.txt", "content": "x"})).await;
    assert_eq!(code(refused), "unwritable");
}

#[tokio::test]
async fn a_write_beyond_the_quota_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    fs::write(root.join("there.txt"), "12345").unwrap();
    fs::create_dir(root.join("folder")).unwrap();
    let quota =
        Quota::default().with_bytes(20).with_file_bytes(12).with_files(4).with_depth(2).with_name_bytes(20);
    let tool = writer(root, quota).await;
    let before = tree(root);
    for (path, content, says) in [
        ("a/large.txt", "1234567890123", "'a/large.txt' would have 13 bytes; one file may have 12"),
        ("a/b/c/deep.txt", "x", "'a/b/c/deep.txt' is 3 folders deep; 2 are allowed"),
        ("a/b/file.txt", "x", "3 more files and folders do not fit: 2 of 4 are used in the whole folder"),
        ("folder/123456789012345678901", "x", "a name has 21 bytes; 20 are allowed"),
    ] {
        let error = write(&tool, path, content).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, "quota_exceeded"));
        assert_eq!((error.message(), error.is_retryable()), (says, false));
        assert_eq!(tree(root), before, "{path}");
    }
    write(&tool, "a.txt", "123456789012").await.unwrap();
    let error = write(&tool, "there.txt", "123456789").await.unwrap_err();
    assert_eq!(error.message(), "4 more bytes do not fit: 17 of 20 are used in the whole folder");
    assert_eq!(fs::read_to_string(root.join("there.txt")).unwrap(), "12345");
    write(&tool, "there.txt", "12345678").await.unwrap();
    // Full: what adds nothing goes on.
    assert_eq!(code(write(&tool, "b.txt", "1").await), "quota_exceeded");
    write(&tool, "there.txt", "87654321").await.unwrap();
    write(&tool, "a.txt", "").await.unwrap();
    write(&tool, "b.txt", "123456789012").await.unwrap();
    let append = json!({"path": "b.txt", "content": "3", "mode": "append", "at": 12});
    assert_eq!(code(tool.call(&ToolContext::default(), append).await), "quota_exceeded");
    assert_eq!(code(write(&tool, "c.txt", "").await), "quota_exceeded", "the fifth file");
    let read_only = writer(root, Quota::default().with_bytes(0)).await;
    assert_eq!(code(write(&read_only, "d.txt", "1").await), "quota_exceeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_together_stay_within_the_quota() {
    let place = tempfile::tempdir().unwrap();
    let quota = Quota::default().with_bytes(1000).with_files(30);
    // Each opens the folder for itself, as other processes do.
    let mut writing = Vec::new();
    for writer_number in 0..8 {
        let tool = writer(place.path(), quota).await;
        writing.push(tokio::spawn(async move {
            let mut written = 0;
            for number in 0..10 {
                let path = format!("{}/{writer_number}-{number}.txt", number % 3);
                match write(&tool, &path, &"x".repeat(90)).await {
                    Ok(_) => written += 1,
                    Err(error) => assert_eq!(error.code(), "quota_exceeded"),
                }
            }
            written
        }));
    }
    let mut written = 0;
    for writing in writing {
        written += writing.await.unwrap();
    }
    let files: Vec<String> =
        tree(place.path()).into_iter().filter(|path| Path::new(path).is_file()).collect();
    assert_eq!((written, files.len()), (11, 11), "eleven files of 90 bytes fit into 1,000");
    for path in files {
        assert_eq!(fs::metadata(path).unwrap().len(), 90);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_never_sees_half_a_file() {
    let place = place();
    let root = place.path().join("root");
    let tool = Arc::new(writer(&root, Quota::default()).await);
    let contents = ["a".repeat(300_000), "b".repeat(200_000)];
    write(&tool, "whole.txt", &contents[0]).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let (tool, contents, stop) = (Arc::clone(&tool), contents.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            for content in contents.iter().cycle() {
                write(&tool, "whole.txt", content).await.unwrap();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        })
    };
    let (mut seen, begin) = ([0, 0], Instant::now());
    while seen.iter().any(|times| *times < 10) && begin.elapsed() < Duration::from_secs(60) {
        let found = fs::read_to_string(root.join("whole.txt")).unwrap();
        let which = contents.iter().position(|content| *content == found).expect("half a file");
        seen[which] += 1;
    }
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    assert!(seen[0] > 0 && seen[1] > 0, "both were seen: {seen:?}");
}

#[tokio::test]
async fn what_a_broken_write_left_is_cleared_away() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    fs::create_dir(root.join("sub")).unwrap();
    fs::write(root.join(".operone-unfinished"), "half").unwrap();
    fs::write(root.join("sub/.operone-unfinished"), "half of another").unwrap();
    let quota = Quota::default().with_bytes(5).with_files(2);
    let tool = writer(root, quota).await;
    write(&tool, "a.txt", "12345").await.unwrap();
    let expected = ["a.txt", "sub"].map(|name| root.join(name).to_string_lossy().into_owned());
    assert_eq!(tree(root), expected);
}

#[tokio::test]
async fn a_dropped_write_leaves_no_part_of_a_file() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    let tool = writer(root, Quota::default()).await;
    let content = "x".repeat(8 << 20);
    for micros in [0, 100, 1_000, 5_000, 20_000] {
        let started = write(&tool, "a/b.txt", &content);
        let _ = tokio::time::timeout(Duration::from_micros(micros), started).await;
    }
    // The next write waits for the dropped ones.
    write(&tool, "last.txt", "x").await.unwrap();
    let half = |path: &String| path.ends_with(".operone-unfinished");
    assert!(!tree(root).iter().any(half));
    if let Ok(written) = fs::read_to_string(root.join("a/b.txt")) {
        assert_eq!(written, content);
    }
}

#[tokio::test]
async fn links_and_users_files_count() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    symlink("nowhere", root.join("link")).unwrap();
    fs::File::create(root.join("holes")).unwrap().set_len(1 << 40).unwrap();
    let error = write(&writer(root, Quota::default()).await, "a.txt", "x").await.unwrap_err();
    assert_eq!(
        error.message(),
        format!("1 more bytes do not fit: {} of {} are used in the whole folder", 1_u64 << 40, 1 << 30)
    );
    let quota = Quota::default().with_files(2).with_bytes(u64::MAX);
    assert_eq!(code(write(&writer(root, quota).await, "a.txt", "x").await), "quota_exceeded");
    write(&writer(root, quota.with_files(3)).await, "a.txt", "x").await.unwrap();
}

#[tokio::test]
async fn the_spec_says_that_a_repeat_has_no_effect() {
    let place = tempfile::tempdir().unwrap();
    let tool = writer(place.path(), Quota::default()).await;
    assert_eq!((tool.spec().class, tool.spec().concurrent), (ToolClass::Idempotent, false));
}

mod conformance {
    use std::sync::Arc;

    use operone_core::conformance::tool::ToolUnderTest;
    use serde_json::json;

    async fn fresh() -> (Arc<ToolUnderTest>, tempfile::TempDir) {
        let place = super::place();
        let tool = crate::tool(place.path().join("root"), "file.write").await;
        let fitting = json!({"path": "new/a.txt", "content": "a", "mode": "create"});
        (Arc::new(ToolUnderTest::new(tool, fitting, json!({"path": "a.txt", "mode": "replace"}))), place)
    }

    operone_core::tool_conformance!(fresh);
}
