//! The architecture's invariants, read from cargo's own data and from the tree.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a broken invariant fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each may use.
const ARROWS: [(&str, &[&str]); 15] = [
    ("operone-core", &[]),
    ("operone-rag", &["operone-core"]),
    ("operone-memory", &["operone-core"]),
    ("operone-embed", &["operone-core"]),
    ("operone-files", &["operone-core"]),
    ("operone-mcp", &["operone-core"]),
    ("operone-models", &["operone-core"]),
    ("operone-postgres", &["operone-core"]),
    ("operone-sandbox", &["operone-core"]),
    ("operone-sqlite", &["operone-core"]),
    ("operone-web", &["operone-core"]),
    (
        "operone-server",
        &[
            "operone-core",
            "operone-embed",
            "operone-files",
            "operone-mcp",
            "operone-memory",
            "operone-models",
            "operone-postgres",
            "operone-rag",
            "operone-sandbox",
            "operone-sqlite",
            "operone-web",
        ],
    ),
    (
        "operone-examples",
        &[
            "operone-core",
            "operone-embed",
            "operone-memory",
            "operone-models",
            "operone-rag",
            "operone-sqlite",
        ],
    ),
    ("relay-bench", &[]),
    ("xtask", &[]),
];

/// Outside things, and who alone may use them.
const DRIVERS: [(&str, &[&str]); 13] = [
    ("axum", &["operone-server", "relay-bench"]),
    ("safetensors", &["operone-embed"]),
    ("cap-std", &["operone-files"]),
    ("genai", &["operone-models"]),
    ("reqwest", &["operone-mcp", "operone-models", "operone-web", "relay-bench"]),
    ("rmcp", &["operone-mcp"]),
    ("rusqlite", &["operone-sqlite"]),
    ("sqlx", &["operone-postgres"]),
    ("hyper", &["operone-models", "operone-server"]),
    ("hyper-rustls", &["operone-models"]),
    ("clap", &["operone-server"]),
    ("landlock", &["operone-sandbox"]),
    ("seccompiler", &["operone-sandbox"]),
];

/// The packages that everyone who embeds the core gets.
const MOST_CORE_PACKAGES: usize = 60;
/// The most packages that `operone-core` brings with its default features.
const MOST_DEFAULT_PACKAGES: usize = 105;
/// The longest source file, in lines.
const LONGEST_FILE: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Each of our crates with the names it depends on, those of its tests included.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version=1", "--no-deps", "--locked"])).unwrap();
    let names = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap();
        dependencies.iter().map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect()
    };
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|package| (package["name"].as_str().unwrap().to_owned(), names(package))).collect()
}

#[test]
fn crates_use_only_what_the_architecture_allows() {
    let dependencies = dependencies();
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        dependencies.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        ours,
        "list each crate in ARROWS"
    );
    for (name, allowed) in ARROWS {
        for used in dependencies[name].iter().filter(|used| ours.contains(used.as_str())) {
            // Core uses itself to run its own conformance suites.
            assert!(allowed.contains(&used.as_str()) || used == name, "{name} must not use {used}");
        }
    }
}

#[test]
fn every_feature_is_tested() {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version=1", "--no-deps", "--locked"])).unwrap();
    let checks = std::fs::read_to_string(root().join("xtask/src/checks.rs")).unwrap();
    for package in metadata["packages"].as_array().unwrap() {
        let (name, features) = (package["name"].as_str().unwrap(), package["features"].as_object().unwrap());
        let by_default = |feature: &str| {
            let default = features.get("default").and_then(Value::as_array);
            feature == "default" || default.is_some_and(|named| named.iter().any(|one| one == feature))
        };
        for feature in features.keys().filter(|feature| !by_default(feature)) {
            let together = checks.contains(&format!("\"{name}/{feature}\""));
            let apart = checks.contains(&format!("(\"{name}\", \"{feature}\")"));
            assert!(together || apart, "list {name}/{feature} in xtask/src/checks.rs");
        }
    }
}

#[test]
fn a_driver_is_used_by_its_own_crate_only() {
    for (name, used) in dependencies() {
        for (driver, allowed) in DRIVERS {
            assert!(
                !used.contains(driver) || allowed.contains(&name.as_str()),
                "{name} must not use {driver}"
            );
        }
    }
}

#[test]
fn the_tree_has_one_sqlite_and_one_tls_provider() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let count = |name: &str| lock.lines().filter(|line| *line == format!("name = \"{name}\"")).count();
    assert_eq!(count("libsqlite3-sys"), 1);
    for unwanted in ["aws-lc-rs", "openssl-sys", "native-tls"] {
        assert_eq!(count(unwanted), 0, "{unwanted}");
    }
}

#[test]
fn the_core_is_small_to_embed() {
    let tree = ["tree", "--package=operone-core", "--edges=normal,build", "--prefix=none", "--locked"];
    for (features, most) in [
        // The contracts alone, as backends have them.
        ("--no-default-features", MOST_CORE_PACKAGES),
        // With the checks of JSON schema that typed answers need (decision 0016).
        ("--features=default", MOST_DEFAULT_PACKAGES),
    ] {
        let tree = cargo(&[&tree[..], &[features]].concat());
        let packages: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
        assert!(packages.len() <= most, "operone-core {features} brings {} packages", packages.len());
    }
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let mut files = Vec::new();
    for folder in std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        if folder.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&folder, &mut files);
        }
    }
    assert!(files.len() > 50, "the sources were not found");
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        assert!(source.starts_with("//! "), "{} does not open with //!", file.display());
        let lines = source.lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", file.display());
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
