//! `file://` URIs: to a path and back, in one spelling.

use std::path::{Path, PathBuf};

use operone_core::{Error, Result};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

/// What a path in a URI cannot hold as it is. Bytes beyond ASCII are always encoded.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The URI in its one spelling: decoded, `.`, `..` and empty segments resolved, encoded again.
pub(crate) fn normalize(uri: &str) -> Result<String> {
    Ok(format!("file://{}", percent_encode(&path_bytes(uri)?, ENCODED)))
}

/// The path that the URI names.
pub(crate) fn path(uri: &str) -> Result<PathBuf> {
    let bytes = path_bytes(uri)?;
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
    }
    #[cfg(not(unix))]
    {
        let path = String::from_utf8(bytes).map_err(|_| invalid(uri, "names no path of this system"))?;
        Ok(PathBuf::from(path))
    }
}

/// The last part of a path, for people.
pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn path_bytes(uri: &str) -> Result<Vec<u8>> {
    let rest = match uri.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => rest,
        _ => return Err(invalid(uri, "does not begin with file://")),
    };
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                return Err(invalid(uri, "names another host; write file:/// and an absolute path"));
            }
            path
        }
        None => rest,
    };
    if !path.starts_with('/') {
        return Err(invalid(uri, "has no absolute path"));
    }
    if path.contains(['?', '#']) {
        return Err(invalid(uri, "holds ? or #: in the name of a file write %3F or %23"));
    }
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    if decoded.contains(&0) {
        return Err(invalid(uri, "holds a zero byte"));
    }
    Ok(resolved(&decoded))
}

/// Resolves `.`, `..` and empty segments by the letters alone; `..` at the top stays there.
fn resolved(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => _ = kept.pop(),
            segment => kept.push(segment),
        }
    }
    let mut resolved = Vec::with_capacity(path.len());
    for segment in kept {
        resolved.push(b'/');
        resolved.extend_from_slice(segment);
    }
    if resolved.is_empty() {
        resolved.push(b'/');
    }
    resolved
}

fn invalid(uri: &str, why: &str) -> Error {
    let shown: String = uri.chars().take(200).collect();
    Error::invalid(format!("'{shown}' {why}")).with_code("invalid_uri")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_file_become_one() {
        for spelling in [
            "file:///a/Grüße%20b.txt",
            "FILE://localhost/a/Gr%c3%bc%C3%9Fe b.txt",
            "file:/a/./x/../Grüße b.txt",
            "file:////a//x/%2e%2e/Grüße%20b.txt",
            "file:///../..%2Fa/Grüße b.txt",
        ] {
            assert_eq!(normalize(spelling).unwrap(), "file:///a/Gr%C3%BC%C3%9Fe%20b.txt", "{spelling}");
            assert_eq!(path(spelling).unwrap(), Path::new("/a/Grüße b.txt"));
        }
        assert_eq!(normalize("file:///a%3Fb%25c(1)+2@3.md").unwrap(), "file:///a%3Fb%25c(1)+2@3.md");
        assert_eq!(normalize("file:///a/").unwrap(), "file:///a");
        assert_eq!(normalize("file:///..").unwrap(), "file:///");
    }

    #[test]
    fn normalizing_twice_changes_nothing() {
        for uri in
            ["file:///a%2525b", "file:///a%zz", "file:///%FF%00x".trim_end_matches("%00x"), "file:///ü ü"]
        {
            let once = normalize(uri).unwrap();
            assert_eq!(normalize(&once).unwrap(), once);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            "",
            "/a/b",
            "http://a/b",
            "file://server/share/a",
            "file://user@localhost/a",
            "file:a",
            "file://",
            "file:///a?b",
            "file:///a#b",
            "file:///a%00b",
        ] {
            assert_eq!(normalize(wrong).unwrap_err().code(), "invalid_uri", "{wrong}");
        }
    }
}
