//! Clients that do not read: they cost the server little, and others nothing.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Server, calling_model, folder};

/// Clients that ask for a stream and never read it.
const IDLE: usize = 50;
/// Large results in the run that they ask for: some 6 MiB of events.
const RESULTS: usize = 20;

#[test]
fn clients_that_never_read_cost_little_and_slow_nobody() {
    let data = folder();
    let workspace = data.path().join("workspace/local");
    std::fs::create_dir_all(&workspace).unwrap();
    std::fs::write(workspace.join("big.txt"), "0123456789abcdef".repeat(16 * 1024)).unwrap();
    let url = calling_model(vec![("file_read", json!({"path": "big.txt"})); RESULTS]);
    let server = Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", &url)]);
    let agent_id = server.create_agent(json!({"goal": "Read", "capabilities": ["fs", "ai"]}));
    server.post(&format!("/agents/{agent_id}/start"), json!({}));
    assert_eq!(server.wait_for_agent(&agent_id)["status"], "completed");

    let path = format!("/agents/{agent_id}/events");
    let whole = server.durable_events(&path, &[]);
    assert!(whole.iter().map(|event| event.data.to_string().len()).sum::<usize>() > 6 << 20);
    let before = resident(server.pid());
    let idle: Vec<_> = (0..IDLE).map(|_| server.stream("GET", &path, &[])).collect();
    std::thread::sleep(Duration::from_secs(2));
    let begun = Instant::now();
    assert_eq!(server.durable_events(&path, &[]), whole);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let grown = resident(server.pid()).saturating_sub(before);
    // Kept whole for each of them, the events would take 300 MiB.
    assert!(grown < 100 << 20, "{IDLE} clients cost {} KiB", grown >> 10);
    drop(idle);
}

/// The memory that a process has, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
