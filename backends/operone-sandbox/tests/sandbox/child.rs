//! This test program again, as the process that is fenced: it does one thing that its environment names.

use std::process::{Command, Stdio};

use operone_sandbox::{Files, Limits, fence, run_probe};

use crate::attempts::{self, Place};
use crate::limits;

/// Says what to do; without it the test does nothing.
const TASK: &str = "OPERONE_TEST_TASK";

/// A command that does a task in a process of its own.
pub(crate) fn doing(task: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["child::begins", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(TASK, task)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
#[ignore = "the other tests start it in a process of its own"]
fn begins() {
    let Ok(task) = std::env::var(TASK) else { return };
    match task.split_once(' ').unwrap_or((&task, "")) {
        ("confined", name) => {
            let place = Place::from_environment();
            Limits::default().apply().unwrap();
            fence(&Files::ReadAndWrite(place.root.clone())).unwrap();
            attempts::make(name, &place);
        }
        ("reading", name) => {
            let place = Place::from_environment();
            fence(&Files::Read(place.root.clone())).unwrap();
            attempts::make(name, &place);
        }
        ("shut", name) => {
            let place = Place::from_environment();
            fence(&Files::None).unwrap();
            attempts::make(name, &place);
        }
        ("free", name) => attempts::make(name, &Place::from_environment()),
        ("probe", _) => drop(run_probe()),
        ("limit", name) => limits::break_one(name),
        other => panic!("{other:?}"),
    }
}
