//! Tool names as the wire permits them, and back.

use std::collections::BTreeMap;

use operone_core::tool::ToolSpec;

/// The longest name on the wire, in bytes.
const MAX_LENGTH: usize = 64;

/// The names of one request's tools in both spellings. The wire permits letters, digits, `_` and `-` only.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToolNames {
    to_wire: BTreeMap<String, String>,
    from_wire: BTreeMap<String, String>,
}

impl ToolNames {
    /// Gives each tool a name of its own on the wire: its own where permitted, else one like it.
    pub(crate) fn new(tools: &[ToolSpec]) -> Self {
        let mut names = Self::default();
        let (plain, others): (Vec<_>, Vec<_>) =
            tools.iter().map(|tool| tool.name.as_str()).partition(|name| spelled(name) == *name);
        for name in plain.into_iter().chain(others) {
            names.add(name);
        }
        names
    }

    /// The name on the wire, also for a tool that is not among the request's tools.
    pub(crate) fn to_wire(&self, name: &str) -> String {
        self.to_wire.get(name).cloned().unwrap_or_else(|| spelled(name))
    }

    /// The tool's own name; a name that the request did not offer stays as it is.
    pub(crate) fn offered_name(&self, name: String) -> String {
        self.from_wire.get(&name).cloned().unwrap_or(name)
    }

    fn add(&mut self, name: &str) {
        if self.to_wire.contains_key(name) {
            return;
        }
        let like = spelled(name);
        let mut wire = like.clone();
        let mut number = 2;
        while self.from_wire.contains_key(&wire) {
            let suffix = format!("_{number}");
            let kept = like.len().min(MAX_LENGTH - suffix.len());
            wire = format!("{}{suffix}", like.get(..kept).unwrap_or_default());
            number += 1;
        }
        self.to_wire.insert(name.to_owned(), wire.clone());
        self.from_wire.insert(wire, name.to_owned());
    }
}

fn spelled(name: &str) -> String {
    let permitted = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let spelled: String = name.chars().map(permitted).take(MAX_LENGTH).collect();
    if spelled.is_empty() { "_".to_owned() } else { spelled }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_were() {
        let long = "x".repeat(70);
        let given = ["file.read", "file_read", "file:read", "mcp:a.b", "größe", &long, &format!("{long}y")];
        let names = ToolNames::new(&given.map(|name| ToolSpec::new(name, "")));
        assert_eq!(names.to_wire("file_read"), "file_read", "a permitted name stays");
        let wire: Vec<String> = given.iter().map(|name| names.to_wire(name)).collect();
        for (name, wire) in given.iter().zip(&wire) {
            assert!(
                wire.len() <= 64 && wire.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
            );
            assert_eq!(names.offered_name(wire.clone()), *name);
        }
        let mut distinct = wire.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), given.len());
        assert_eq!(names.offered_name("never_offered".into()), "never_offered");
        assert_eq!(names.to_wire(""), "_");
    }
}
