//! What the probe says agrees with what the kernel does.

use std::os::unix::fs::PermissionsExt;

use operone_sandbox::Probe;

/// A program that calls the probe, as the server does: this test program with its environment.
fn probe() -> Probe {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    let command = crate::child::doing("probe");
    let arguments: Vec<String> = command.get_args().map(|part| part.to_str().unwrap().to_owned()).collect();
    // The harness writes around the report; what is in braces is the report.
    let script = format!(
        "#!/bin/sh\nOPERONE_TEST_TASK=probe '{}' {} | grep --line-buffered -o '{{.*'\n",
        command.get_program().to_str().unwrap(),
        arguments.join(" "),
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Probe::of(&program, "")
}

#[test]
fn this_kernel_enforces_what_it_is_said_to() {
    let probe = probe();
    let abi = probe.landlock_abi.unwrap_or(0);
    for (layer, needed) in
        [("landlock_files", 1), ("landlock_tcp", 4), ("landlock_signals", 6), ("landlock_sockets", 6)]
    {
        assert_eq!(probe.holds(layer), abi >= needed, "{layer}: {probe:#?}");
    }
    for layer in ["affinity", "not_dumpable", "rlimit_data", "seccomp", "watchdog"] {
        assert!(probe.holds(layer), "{layer}: {probe:#?}");
    }
    assert!(!probe.holds("cgroup") && probe.layers["cgroup"].reason.is_some());
    let told = serde_json::to_value(&probe).unwrap();
    assert_eq!(told["layers"]["seccomp"], serde_json::json!({"active": true}));
}
