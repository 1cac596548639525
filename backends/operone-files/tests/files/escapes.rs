//! Ways out of the folder that others fell for, each with the answer of each tool, and a canary outside.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use operone_core::tool::{ToolContext, ToolHandle, ToolSet, ToolSpec};
use operone_core::{Error, Result};
use operone_files::FileRoot;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The content of files outside, and the name of some; no answer may hold it.
const CANARY: &str = "canary-7f3a";

/// What every write tries to write; it may stand below the root alone.
const WRITTEN: &str = "written-by-the-tool";

/// A folder `root`, and around it what must neither be read nor changed.
pub(crate) struct Arena(TempDir);

impl Arena {
    pub(crate) fn new() -> Self {
        let arena = Self(tempfile::tempdir().unwrap());
        for folder in ["root/sub", "root-beside", "outside/sub"] {
            fs::create_dir_all(arena.at(folder)).unwrap();
        }
        for file in ["secret.txt", "root-beside/secret.txt", "outside/secret.txt", "outside/sub/secret.txt"] {
            fs::write(arena.at(file), CANARY).unwrap();
        }
        for folder in ["", "root-beside", "outside", "outside/sub"] {
            fs::write(arena.at(folder).join(CANARY), "").unwrap();
        }
        fs::write(arena.at("outside/shared.txt"), "shared").unwrap();
        fs::write(arena.at("root/notes.txt"), "notes").unwrap();
        arena
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Everything outside of the root, with its content.
    pub(crate) fn outside(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path == self.at("root") {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path.clone());
                }
                let content = if path.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
                found.insert(path, content);
            }
        }
        found
    }
}

struct Case {
    name: &'static str,
    /// `{root}`, `{above}` and `{pid}` stand for the folder, the folder that it is in, and this process.
    path: &'static str,
    set_up: fn(&Arena),
    read: &'static str,
    list: &'static str,
    write: &'static str,
}

/// A way out: what `file.read`, `file.list` and `file.write` answer, `ok` or a code.
const fn case(
    name: &'static str,
    path: &'static str,
    [read, list, write]: [&'static str; 3],
    set_up: fn(&Arena),
) -> Case {
    Case { name, path, set_up, read, list, write }
}

const fn nothing(_: &Arena) {}

/// Refused by all three, in the same words.
const OUTSIDE: [&str; 3] = ["outside_root", "outside_root", "outside_root"];
/// A link that leads out, or a path that ends with a slash: writes take neither for a file, wherever it leads.
const LINK: [&str; 3] = ["outside_root", "outside_root", "not_a_file"];
/// No way out but a name like any other: there is no such file, and one may be made.
const A_NAME: [&str; 3] = ["not_found", "not_found", "ok"];
/// A name that may not be made: a way out elsewhere, or one that spoils a terminal.
const NO_NAME: [&str; 3] = ["not_found", "not_found", "invalid_path"];

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Dots.
    case("parent", "../secret.txt", OUTSIDE, nothing),
    case("parent from a folder", "sub/../../secret.txt", OUTSIDE, nothing),
    case("parent from a folder that is missing", "none/../../secret.txt", ["outside_root|not_found", "outside_root|not_found", "outside_root"], nothing),
    case("many parents", "../../../../../../../../../../etc/passwd", OUTSIDE, nothing),
    case("parent alone", "..", OUTSIDE, nothing),
    case("parent with a slash", "../", OUTSIDE, nothing),
    case("out and in again", "../root/notes.txt", OUTSIDE, nothing),
    case("down and up inside", "sub/../notes.txt", ["ok", "not_a_folder", "invalid_path"], nothing),
    case("dot and parent", "./.././secret.txt", OUTSIDE, nothing),
    case("doubled slashes", "..//secret.txt", OUTSIDE, nothing),
    case("three dots", ".../secret.txt", A_NAME, nothing),
    case("dots with spaces", ".. /secret.txt", A_NAME, nothing),
    case("stripped once", "....//secret.txt", A_NAME, nothing),
    // Encodings: a tool's path is no URI.
    case("encoded slash", "..%2fsecret.txt", A_NAME, nothing),
    case("encoded dots", "%2e%2e/secret.txt", A_NAME, nothing),
    case("encoded twice", "%252e%252e%252fsecret.txt", A_NAME, nothing),
    case("overlong slash", "..%c0%afsecret.txt", A_NAME, nothing),
    case("file URI", "file:///etc/passwd", A_NAME, nothing),
    case("full-width dots", "\u{ff0e}\u{ff0e}/secret.txt", A_NAME, nothing),
    case("two-dot leader", "\u{2025}/secret.txt", A_NAME, nothing),
    case("fraction slash", "..\u{2044}secret.txt", A_NAME, nothing),
    case("division slash", "..\u{2215}secret.txt", A_NAME, nothing),
    case("full-width slash", "..\u{ff0f}secret.txt", A_NAME, nothing),
    case("zero-width space", ".\u{200b}./secret.txt", A_NAME, nothing),
    // Absolute paths, and other systems' forms.
    case("absolute", "/etc/passwd", OUTSIDE, nothing),
    case("absolute, the canary", "{above}/secret.txt", OUTSIDE, nothing),
    case("CVE-2025-53110: a name that begins like the root's", "{root}-beside/secret.txt", OUTSIDE, nothing),
    case("absolute below the root, then up", "{root}/../secret.txt", OUTSIDE, nothing),
    case("absolute with two slashes", "//etc/passwd", OUTSIDE, nothing),
    case("the top", "/", OUTSIDE, nothing),
    case("home", "~/.ssh/id_rsa", A_NAME, nothing),
    case("home of root", "~root/.bashrc", A_NAME, nothing),
    case("variable", "$HOME/secret.txt", A_NAME, nothing),
    case("variable in braces", "${PWD}/../secret.txt", NO_NAME, nothing),
    case("command", "$(cat ../secret.txt)", A_NAME, nothing),
    case("backslashes", "..\\secret.txt", NO_NAME, nothing),
    case("drive", "C:\\Windows\\win.ini", NO_NAME, nothing),
    case("drive with slashes", "C:/Windows/win.ini", A_NAME, nothing),
    case("UNC", "\\\\server\\share\\secret.txt", NO_NAME, nothing),
    case("UNC with slashes", "//server/share/secret.txt", OUTSIDE, nothing),
    case("verbatim", "\\\\?\\C:\\secret.txt", NO_NAME, nothing),
    case("stream of a file", "notes.txt::$DATA", A_NAME, nothing),
    case("reserved name of another system", "CON", A_NAME, nothing),
    // The kernel's ways.
    case("root of this process", "/proc/self/root/etc/passwd", OUTSIDE, nothing),
    case("root of a process", "/proc/{pid}/root{above}/secret.txt", OUTSIDE, nothing),
    case("folder of this process", "/proc/self/cwd", OUTSIDE, nothing),
    case("link to the root of this process", "link/etc/passwd", OUTSIDE,
        |arena| symlink("/proc/self/root", arena.at("root/link")).unwrap()),
    case("link to an open handle", "link", LINK,
        |arena| symlink("/proc/self/fd/0", arena.at("root/link")).unwrap()),
    // Symbolic links.
    case("CVE-2025-53109: link to a file", "link", LINK,
        |arena| symlink("../secret.txt", arena.at("root/link")).unwrap()),
    case("absolute link to a file", "link", LINK,
        |arena| symlink(arena.at("secret.txt"), arena.at("root/link")).unwrap()),
    case("link to a folder", "link", LINK,
        |arena| symlink("../outside", arena.at("root/link")).unwrap()),
    case("link to a folder, with a slash", "link/", LINK,
        |arena| symlink("../outside", arena.at("root/link")).unwrap()),
    case("link in the middle", "link/sub/secret.txt", OUTSIDE,
        |arena| symlink("../outside", arena.at("root/link")).unwrap()),
    case("link in the middle, new folders", "link/new/file.txt", OUTSIDE,
        |arena| symlink("../outside", arena.at("root/link")).unwrap()),
    case("link to the folder above", "link/root/notes.txt", OUTSIDE,
        |arena| symlink("..", arena.at("root/link")).unwrap()),
    case("chain of links", "first/secret.txt", OUTSIDE, |arena| {
        symlink("sub/second", arena.at("root/first")).unwrap();
        symlink("../third", arena.at("root/sub/second")).unwrap();
        symlink(arena.at("outside"), arena.at("root/third")).unwrap();
    }),
    case("chain that comes back in", "first", LINK, |arena| {
        symlink(arena.at("outside/back"), arena.at("root/first")).unwrap();
        symlink(arena.at("root/notes.txt"), arena.at("outside/back")).unwrap();
    }),
    case("absolute link that stays inside", "link", LINK,
        |arena| symlink(arena.at("root/notes.txt"), arena.at("root/link")).unwrap()),
    case("link that stays inside", "link/notes.txt", ["ok", "not_a_folder", "ok"],
        |arena| symlink(".", arena.at("root/link")).unwrap()),
    case("dangling link", "link", LINK,
        |arena| symlink("../outside/new.txt", arena.at("root/link")).unwrap()),
    case("dangling link in the middle", "link/new.txt", OUTSIDE,
        |arena| symlink("../outside/new", arena.at("root/link")).unwrap()),
    case("dangling link inside", "link/new.txt", ["not_found", "not_found", "not_found"],
        |arena| symlink("sub/none", arena.at("root/link")).unwrap()),
    case("link to itself", "link/x", ["unreadable", "unreadable", "unwritable"],
        |arena| symlink("link", arena.at("root/link")).unwrap()),
    case("link under the name of unfinished files", "sub/new.txt", A_NAME,
        |arena| symlink("../../outside/secret.txt", arena.at("root/sub/.operone-unfinished")).unwrap()),
    // Hard links: whoever made one could have copied the file; a write makes the name a file of its own.
    case("hard link", "link", ["ok", "not_a_folder", "ok"],
        |arena| fs::hard_link(arena.at("outside/shared.txt"), arena.at("root/link")).unwrap()),
    // What is no file.
    case("pipe", "pipe", ["not_a_file", "not_a_folder", "not_a_file"], |arena| make_node(arena, "pipe", &["p"])),
    case("pipe as a folder", "pipe/x", ["not_found", "not_a_folder", "not_a_folder"], |arena| make_node(arena, "pipe", &["p"])),
    case("socket", "socket", ["not_a_file", "not_a_folder", "not_a_file"],
        |arena| drop(std::os::unix::net::UnixListener::bind(arena.at("root/socket")).unwrap())),
    case("link to a device", "link", LINK,
        |arena| symlink("/dev/zero", arena.at("root/link")).unwrap()),
    case("the folder itself", ".", ["not_a_file", "ok", "not_a_file"], nothing),
    case("no path", "", ["not_a_file", "ok", "not_a_file"], nothing),
    case("a folder", "sub", ["not_a_file", "ok", "not_a_file"], nothing),
    case("a folder with a slash", "sub/", ["not_a_file", "ok", "not_a_file"], nothing),
    case("a file with a slash", "notes.txt/", ["not_found", "not_a_folder", "not_a_file"], nothing),
    case("a file with a dot", "notes.txt/.", ["not_found", "not_a_folder", "not_a_file"], nothing),
    case("a new file with a slash", "new.txt/", ["not_found", "not_found", "not_a_file"], nothing),
    case("a file as a folder", "notes.txt/x", ["not_found", "not_a_folder", "not_a_folder"], nothing),
    case("a file as a folder, then up", "notes.txt/../../secret.txt", ["not_found", "not_a_folder", "outside_root"], nothing),
    // Names.
    case("zero byte", "notes.txt\0.png", ["invalid_path"; 3], nothing),
    case("zero byte after a way out", "../secret.txt\0.txt", ["invalid_path"; 3], nothing),
    case("line break", "a\nb", NO_NAME, nothing),
    case("escape sequence", "\u{1b}[2Ja", NO_NAME, nothing),
    case("capitals", "NOTES.TXT", A_NAME, nothing),
    case("capitals of a link", "LINK/secret.txt", A_NAME, |arena| symlink("../outside", arena.at("root/link")).unwrap()),
    case("unfinished file", ".operone-unfinished", ["not_found", "not_a_folder", "invalid_path"],
        |arena| fs::write(arena.at("root/.operone-unfinished"), CANARY).unwrap()),
    case("unfinished file in capitals", "sub/.OPERONE-Unfinished", ["not_found", "not_found", "invalid_path"], nothing),
    case("unfinished file as a folder", ".operone-unfinished/x", ["not_found", "not_found", "invalid_path"], nothing),
];

fn make_node(arena: &Arena, name: &str, kind: &[&str]) {
    let made = Command::new("mknod").arg(arena.at("root").join(name)).args(kind).status().unwrap();
    assert!(made.success());
}

pub(crate) async fn tools(root: &Path) -> Vec<ToolHandle> {
    FileRoot::open(root).unwrap().tools().await.unwrap()
}

pub(crate) async fn call(tools: &[ToolHandle], name: &str, input: Value) -> Result<Value> {
    let tool = tools.iter().find(|tool| tool.spec().name == name).unwrap();
    let context = ToolContext::default();
    let called = tokio::time::timeout(Duration::from_secs(30), tool.call(&context, input));
    called.await.expect("the tool hangs")
}

/// Whether an answer tells what is outside.
pub(crate) fn leaks(answer: &Result<Value>) -> bool {
    match answer {
        Ok(output) => output.to_string().contains(CANARY),
        Err(error) => error.with_causes().to_string().contains(CANARY),
    }
}

/// What goes wrong when the tools are called with `path`.
async fn wrong(arena: &Arena, tools: &[ToolHandle], path: &str, expected: [&str; 3]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (tool, expected) in ["file.read", "file.list", "file.write"].into_iter().zip(expected) {
        let before = arena.outside();
        let input = match tool {
            "file.write" => json!({"path": path, "content": WRITTEN}),
            _ => json!({"path": path}),
        };
        let answer = call(tools, tool, input).await;
        let code = answer.as_ref().map_or_else(Error::code, |_| "ok");
        if leaks(&answer) {
            wrong.push(format!("{tool} tells what is outside"));
        }
        if arena.outside() != before {
            wrong.push(format!("{tool} changes what is outside"));
        }
        if !expected.split('|').any(|expected| expected == code) {
            wrong.push(format!("{tool} answers {code}, not {expected}"));
        }
    }
    wrong
}

fn filled(arena: &Arena, path: &str) -> String {
    path.replace("{root}", arena.at("root").to_str().unwrap())
        .replace("{above}", arena.at("").to_str().unwrap().trim_end_matches('/'))
        .replace("{pid}", &std::process::id().to_string())
}

#[tokio::test]
async fn no_path_leads_out() {
    assert!(CASES.len() >= 40);
    let mut all_wrong = Vec::new();
    for case in CASES {
        let arena = Arena::new();
        (case.set_up)(&arena);
        let path = filled(&arena, case.path);
        let tools = tools(&arena.at("root")).await;
        for wrong in wrong(&arena, &tools, &path, [case.read, case.list, case.write]).await {
            all_wrong.push(format!("{}: {path:?}: {wrong}", case.name));
        }
    }
    assert!(all_wrong.is_empty(), "{}", all_wrong.join("\n"));
}

/// The table finds what it looks for: tools that only compare how paths begin are found out.
#[tokio::test]
async fn tools_that_compare_letters_are_found_out() {
    let (mut tell, mut change) = (0, 0);
    for case in CASES.iter().filter(|case| !case.name.contains("pipe")) {
        let arena = Arena::new();
        (case.set_up)(&arena);
        let path = filled(&arena, case.path);
        let found = wrong(&arena, &careless_tools(arena.at("root")), &path, OUTSIDE).await;
        tell += usize::from(found.iter().any(|wrong| wrong.contains("tells")));
        change += usize::from(found.iter().any(|wrong| wrong.contains("changes")));
    }
    assert!(tell >= 15 && change >= 10, "told {tell} times, changed {change} times");
}

/// Tools as they are often written: the path is joined to the root's, and has to begin with it. Nothing that is not
/// in the test's own folder is touched.
pub(crate) fn careless_tools(root: PathBuf) -> Vec<ToolHandle> {
    ["file.read", "file.list", "file.write"]
        .map(|name| {
            let root = root.clone();
            ToolHandle::from_fn(ToolSpec::new(name, ""), move |_, input| {
                let root = root.clone();
                async move {
                    let path = root.join(input["path"].as_str().unwrap_or_default());
                    let arena = root.parent().unwrap();
                    let resolved = fs::canonicalize(&path)
                        .or_else(|_| path.parent().map_or(Ok(path.clone()), fs::canonicalize));
                    let begins = path.to_string_lossy().starts_with(&*root.to_string_lossy());
                    if !begins || !resolved.is_ok_and(|resolved| resolved.starts_with(arena)) {
                        return Err(Error::invalid("no"));
                    }
                    let failed = |error| Error::invalid("failed").with_source(error);
                    match name {
                        "file.read" => fs::read_to_string(path).map(Value::from).map_err(failed),
                        "file.list" => {
                            let entries = fs::read_dir(path).map_err(failed)?;
                            let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
                            Ok(entries
                                .map(|entry| json!({"name": name(entry.unwrap()), "kind": ""}))
                                .collect())
                        }
                        _ => fs::write(path, WRITTEN).map(|()| Value::Null).map_err(failed),
                    }
                }
            })
        })
        .into()
}

#[tokio::test]
async fn long_names_and_deep_folders_are_refused() {
    let arena = Arena::new();
    let tools = tools(&arena.at("root")).await;
    let long = "n".repeat(256);
    let deep = "d/".repeat(40) + "x";
    let beyond = "d/".repeat(3000) + "x";
    for (path, expected) in [
        (long.as_str(), ["invalid_path", "invalid_path", "quota_exceeded"]),
        (deep.as_str(), ["not_found", "not_found", "quota_exceeded"]),
        (beyond.as_str(), ["invalid_path", "invalid_path", "quota_exceeded"]),
        (&format!("{}../secret.txt", "sub/../".repeat(20)), OUTSIDE),
        (&format!("{}secret.txt", "../".repeat(2000)), ["invalid_path", "invalid_path", "outside_root"]),
    ] {
        assert_eq!(wrong(&arena, &tools, path, expected).await, Vec::<String>::new(), "{path}");
    }
    // Folders that someone else nested deeper than any path is long.
    let mut folder =
        cap_std::fs::Dir::open_ambient_dir(arena.at("root"), cap_std::ambient_authority()).unwrap();
    let name = "n".repeat(200);
    for _ in 0..30 {
        folder.create_dir(&name).unwrap();
        folder = folder.open_dir(&name).unwrap();
    }
    call(&tools, "file.write", json!({"path": "new.txt", "content": "x"})).await.unwrap();
}

#[tokio::test]
async fn a_file_of_holes_is_read_in_parts_and_not_copied() {
    let arena = Arena::new();
    let tools = tools(&arena.at("root")).await;
    fs::File::create(arena.at("root/holes")).unwrap().set_len(1 << 40).unwrap();
    let read = call(&tools, "file.read", json!({"path": "holes"})).await.unwrap();
    assert_eq!((&read["bytes"], &read["truncated"]), (&json!(262_144), &json!(true)));
    let append = json!({"path": "holes", "content": "x", "mode": "append", "at": 1_u64 << 40});
    assert_eq!(call(&tools, "file.write", append).await.unwrap_err().code(), "quota_exceeded");
    let replaced = call(&tools, "file.write", json!({"path": "holes", "content": "x"})).await.unwrap();
    assert_eq!(replaced["bytes"], 1);
}

#[tokio::test]
async fn devices_and_the_kernels_files_are_no_files() {
    let devices = tools(Path::new("/dev")).await;
    for path in ["null", "zero", "full"] {
        for (tool, input) in [
            ("file.read", json!({"path": path})),
            ("file.write", json!({"path": path, "content": "x"})),
            ("file.write", json!({"path": path, "content": "x", "mode": "append"})),
        ] {
            assert_eq!(call(&devices, tool, input).await.unwrap_err().code(), "not_a_file", "{path}");
        }
    }
    #[cfg(target_os = "linux")]
    for (root, path) in [("/proc", "self/comm"), ("/sys", "kernel/notes"), ("/proc", "new.txt")] {
        let made_up = tools(Path::new(root)).await;
        let write = call(&made_up, "file.write", json!({"path": path, "content": "x"})).await;
        assert_eq!(write.unwrap_err().code(), "unwritable", "{root}/{path}");
        let read = call(&made_up, "file.read", json!({"path": path})).await.unwrap_err();
        assert!(matches!(read.code(), "not_a_file" | "not_found"), "{root}/{path}: {read}");
    }
}

/// Runs itself again where it may mount: in a name space of its own, so that no mount is left.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_mounted_below_belongs_to_the_folder_but_for_the_kernels_files() {
    const AGAIN: &str = "OPERONE_FILES_TEST_MOUNTS";
    if std::env::var_os(AGAIN).is_none() {
        let name = "escapes::what_is_mounted_below_belongs_to_the_folder_but_for_the_kernels_files";
        let unshare = |what: &str| {
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "--mount", what]);
            command
        };
        if !unshare("true").output().is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: nothing can be mounted here");
            return;
        }
        let mut again = unshare(std::env::current_exe().unwrap().to_str().unwrap());
        let output = again.args(["--exact", name, "--nocapture"]).env(AGAIN, "1").output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    let arena = Arena::new();
    for (from, to) in [("outside", "root/mounted"), ("/proc", "root/kernel")] {
        fs::create_dir(arena.at(to)).unwrap();
        let mount = Command::new("mount").arg("--rbind").arg(arena.at(from)).arg(arena.at(to)).status();
        assert!(mount.unwrap().success());
    }
    let tools = tools(&arena.at("root")).await;
    let code =
        |answer: Result<Value>| answer.map_or_else(|error| error.code().to_owned(), |_| "ok".to_owned());
    for (path, [read, write]) in [
        ("mounted/shared.txt", ["ok", "ok"]),
        ("mounted/../../secret.txt", ["outside_root", "outside_root"]),
        ("kernel/version", ["not_a_file", "unwritable"]),
        ("kernel/self/comm", ["not_a_file", "unwritable"]),
        ("kernel/self/root/etc/passwd", ["unreadable", "unwritable"]),
    ] {
        assert_eq!(code(call(&tools, "file.read", json!({"path": path})).await), read, "{path}");
        let input = json!({"path": path, "content": "x"});
        assert_eq!(code(call(&tools, "file.write", input).await), write, "{path}");
    }
}
