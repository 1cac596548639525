//! What is named on the command line as sources: URLs as they are, files as URLs, folders as the files in them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use operone_core::error::{Error, ErrorKind, Result};

use super::wrong;

/// The sources that the arguments name, those of a folder in order. Hidden files and folders within a folder, and
/// links to folders, are passed over.
pub(super) fn sources(arguments: &[String]) -> Result<Vec<String>> {
    let mut sources = Vec::new();
    for argument in arguments {
        if argument.contains("://") {
            sources.push(argument.clone());
            continue;
        }
        let path = std::path::absolute(argument).map_err(unreadable(Path::new(argument)))?;
        if path.is_dir() {
            let before = sources.len();
            files(&path, &mut sources)?;
            if sources.len() == before {
                return Err(wrong(format!("the folder {argument} has no files")));
            }
        } else {
            // One that is not there is an outcome of its own, like one that cannot be read.
            sources.push(file_url(&path));
        }
    }
    Ok(sources)
}

/// The URLs of the folders among the arguments.
pub(super) fn folders(arguments: &[String]) -> Result<Vec<String>> {
    let mut folders = Vec::new();
    for argument in arguments.iter().filter(|argument| !argument.contains("://")) {
        let path = std::path::absolute(argument).map_err(unreadable(Path::new(argument)))?;
        if path.is_dir() {
            folders.push(file_url(&path));
        }
    }
    Ok(folders)
}

fn files(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(unreadable(folder))?;
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if path.is_dir() {
            if !path.is_symlink() {
                files(&path, found)?;
            }
        } else if path.is_file() {
            found.push(file_url(&path));
        }
    }
    Ok(())
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |error| {
        let detail = format!("{} cannot be read", path.display());
        Error::new(ErrorKind::Invalid, detail).with_code("unreadable").with_source(error)
    }
}

/// The `file://` URL of an absolute path.
fn file_url(path: &Path) -> String {
    let mut url = String::from("file://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => {
                url.push(char::from(*byte));
            }
            // Writing into a text does not fail.
            _ => drop(write!(url, "%{byte:02X}")),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_urls_and_folders_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("b/.git")).unwrap();
        for name in ["b/.git/config", "b/one two.txt", "a.md", ".hidden"] {
            std::fs::write(root.join(name), "x").unwrap();
        }
        let named = |name: &str| format!("file://{}/{name}", root.display());
        let arguments = [root.display().to_string(), "https://example.com/x".to_owned()];
        assert_eq!(
            sources(&arguments).unwrap(),
            [named("a.md"), named("b/one%20two.txt"), "https://example.com/x".to_owned()]
        );
        assert_eq!(file_url(Path::new("/ä #1?.txt")), "file:///%C3%A4%20%231%3F.txt");
        std::fs::create_dir(root.join("empty")).unwrap();
        assert!(sources(&[root.join("empty").display().to_string()]).is_err());
    }
}
