//! The commands of the README, pasted in order.

use std::process::Command;

use crate::support::{Server, folder};

#[test]
fn the_commands_of_the_readme_work_when_pasted_in_order() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let readme = std::fs::read_to_string(format!("{root}/README.md")).unwrap();
    let blocks: Vec<&str> =
        readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 6, "the README has lost its commands");
    let data = folder();
    let server = Server::start(data.path());
    let script = blocks.join("\necho; echo ----\n").replace("localhost:3000", &server.address);
    let output =
        Command::new("bash").args(["-euo", "pipefail", "-c", &script]).current_dir(root).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    // The stream of events is cut off by curl's own time limit, in the background.
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<&str> = said.split("----").collect();
    for (answer, expected) in answers.iter().zip([
        vec!["\"status\":\"completed\"", "\"status\":\"indexed\"", "changes nothing", "architecture.md"],
        vec!["\"ids\":[\"mem-", "User prefers dark mode", "\"score\""],
        vec![
            "event: step_start",
            "event: token",
            "event: step_end",
            "event: end",
            "dark mode",
            "\"status\":\"completed\"",
        ],
        vec!["event: agent.started", "event: agent.completed", "\"status\":\"queued\""],
        vec!["\"worker_pid\":", "event: end", "Lisbon"],
        vec!["\"status\":\"ready\"", "\"is_language_model\":false"],
    ]) {
        for part in expected {
            assert!(answer.contains(part), "{part} is missing in: {answer}");
        }
    }
}
