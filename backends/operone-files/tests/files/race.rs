//! A folder and a file that turn into links and back while the tools use them: nothing outside is read or written.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use operone_core::tool::ToolHandle;
use serde_json::json;

use super::escapes::{Arena, call, careless_tools, leaks, tools};

/// How long the tools run at least, and at most if not everything was met.
const AT_LEAST: Duration = Duration::from_secs(2);
const AT_MOST: Duration = Duration::from_secs(60);

/// Swaps on a thread of its own until it is dropped.
struct Swapping {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Swapping {
    /// `root/<name>` is what it is, then a link to `outside/<target>`, and so on.
    fn start(arena: &Arena, name: &str, target: &str) -> Self {
        let (there, away) = (arena.at("root").join(name), arena.at("root").join(format!("{name}-away")));
        let target = arena.at("outside").join(target);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // Writes put a file where there is none for a moment: what cannot be swapped now is swapped next time.
                let _ = fs::rename(&there, &away);
                let _ = symlink(&target, &there);
                std::thread::yield_now();
                let _ = fs::rename(&away, &there);
                if away.exists() {
                    // The link is in its place, or a folder that a write made there meanwhile.
                    let _ = fs::remove_dir_all(&there).or_else(|_| fs::remove_file(&there));
                    let _ = fs::rename(&away, &there);
                }
                std::thread::yield_now();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Swapping {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How often each call was answered and refused.
#[derive(Debug, Default)]
struct Met {
    answered: [u32; 3],
    refused: [u32; 3],
    /// How often an answer told what is outside.
    leaked: u32,
    /// Whether something outside is not as it was.
    changed: bool,
}

/// Calls the tools until `enough` was met: the race took place, and nothing outside was read or written.
async fn race(
    arena: &Arena,
    paths: [&str; 2],
    new: impl Fn(u32) -> String,
    enough: impl Fn(&Met) -> bool,
) -> Met {
    let met = race_of(&tools(&arena.at("root")).await, arena, paths, new, &enough).await;
    assert!(met.leaked == 0 && !met.changed, "{met:?}");
    assert!(enough(&met), "the swaps came to nothing: {met:?}");
    met
}

async fn race_of(
    tools: &[ToolHandle],
    arena: &Arena,
    [file, folder]: [&str; 2],
    new: impl Fn(u32) -> String,
    enough: impl Fn(&Met) -> bool,
) -> Met {
    let before = arena.outside();
    let (mut met, begin) = (Met::default(), Instant::now());
    let mut round = 0;
    while begin.elapsed() < AT_LEAST || (!enough(&met) && begin.elapsed() < AT_MOST) {
        round += 1;
        let calls = [
            ("file.read", json!({"path": file})),
            ("file.list", json!({"path": folder})),
            ("file.write", json!({"path": new(round), "content": format!("inside {round}")})),
        ];
        for (number, (tool, input)) in calls.into_iter().enumerate() {
            let answer = call(tools, tool, input).await;
            met.leaked += u32::from(leaks(&answer));
            let counts = if answer.is_ok() { &mut met.answered } else { &mut met.refused };
            counts[number] += 1;
        }
    }
    met.changed = arena.outside() != before;
    met
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_becomes_a_link() {
    let arena = Arena::new();
    fs::create_dir(arena.at("root/d")).unwrap();
    fs::write(arena.at("root/d/secret.txt"), "inside").unwrap();
    let swapping = Swapping::start(&arena, "d", "");
    let new = |round| format!("d/{}.txt", round % 50);
    let all = |met: &Met| met.answered.iter().chain(&met.refused).all(|times| *times > 0);
    race(&arena, ["d/secret.txt", "d"], new, all).await;
    drop(swapping);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_the_middle_that_becomes_a_link() {
    let arena = Arena::new();
    fs::create_dir_all(arena.at("root/d/sub")).unwrap();
    let swapping = Swapping::start(&arena, "d", "");
    let new = |round| format!("d/sub/new-{}/x.txt", round % 20);
    let enough = |met: &Met| met.answered[1] > 0 && met.answered[2] > 0 && met.refused[1..] != [0, 0];
    // The file that is read is only outside.
    let met = race(&arena, ["d/sub/secret.txt", "d/sub"], new, enough).await;
    drop(swapping);
    assert_eq!(met.answered[0], 0, "{met:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_becomes_a_link() {
    let arena = Arena::new();
    fs::write(arena.at("root/f"), "inside").unwrap();
    let swapping = Swapping::start(&arena, "f", "secret.txt");
    let enough = |met: &Met| met.answered[0] > 0 && met.refused[0] > 0 && met.answered[2] > 0;
    race(&arena, ["f", "sub"], |_| "f".to_owned(), enough).await;
    drop(swapping);
}

/// The race finds what it looks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn careless_tools_lose_the_race() {
    let arena = Arena::new();
    fs::create_dir(arena.at("root/d")).unwrap();
    fs::write(arena.at("root/d/secret.txt"), "inside").unwrap();
    let swapping = Swapping::start(&arena, "d", "");
    let tools = careless_tools(arena.at("root"));
    let new = |round| format!("d/{}.txt", round % 50);
    let enough = |met: &Met| met.leaked > 10;
    let met = race_of(&tools, &arena, ["d/secret.txt", "d"], new, enough).await;
    drop(swapping);
    assert!(met.leaked > 0 && met.changed, "{met:?}");
}
