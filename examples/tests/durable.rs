//! The example of a durable run is what it says: it dies once, goes on, and ends.

use std::process::Command;

#[test]
fn a_run_goes_on_after_the_death_of_its_program() {
    let example = ["run", "--quiet", "--locked", "--package", "operone-examples", "--example", "durable"];
    let run = Command::new(env!("CARGO")).args(example).output().unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    let (first, second) = said.split_once("the first life ended: signal: 6").expect("it did not die");
    assert!(first.contains("4 tool_call") && !first.contains("tool_result"), "{said}");
    assert_eq!(second.matches(" tool_result ").count(), 2, "{said}");
    assert_eq!(said.matches("approved: send").count(), 1, "{said}");
    assert!(said.ends_with("The letter is answered.\n"), "{said}");
}
