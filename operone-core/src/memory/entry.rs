//! A memory as it is stored.

use serde::{Deserialize, Serialize};

use crate::cache::ContentHash;
use crate::clock::Timestamp;
use crate::id::MemoryId;
use crate::metadata::Metadata;

/// A memory. Stored as it is; each change is a new version of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its id, the same in every version and no other's within a tenant.
    pub id: MemoryId,
    /// What is remembered, verbatim.
    pub content: String,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// When it was first written.
    pub recorded_at: Timestamp,
    /// Which version this is, from 1. The store counts.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub version: u32,
    /// When this version was written, if it is not the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// What kind of memory it is: `episode`, `fact`, `preference`, `procedure`, `summary`, or a word of the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What else is known of it, to filter by.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// How much it matters, in [0, 1]; ½ if nothing was said.
    #[serde(default = "middle", skip_serializing_if = "is_middle")]
    pub importance: f64,
    /// How far its origin can be trusted.
    #[serde(default, skip_serializing_if = "Trust::is_user")]
    pub trust: Trust,
    /// Who said it: a name whose words are searched too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The conversation it is part of: what was said before and after helps to find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// The memories it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived_from: Vec<MemoryId>,
    /// The name of the extractor that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived_by: Option<String>,
    /// When what it tells happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// From when on it cannot be read any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The memory that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<MemoryId>,
}

/// How far the origin of a memory can be trusted, the least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trust {
    /// Strangers: web pages, documents, other people's mail.
    External,
    /// A tool within the program.
    Tool,
    /// An agent's own words.
    Agent,
    /// The user or the host.
    #[default]
    User,
}

impl Trust {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::External, Self::Tool, Self::Agent, Self::User];

    /// Its name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Tool => "tool",
            Self::Agent => "agent",
            Self::User => "user",
        }
    }

    fn is_user(&self) -> bool {
        *self == Self::User
    }
}

impl Entry {
    /// The first version of a memory with its tags; everything else is left to its default.
    pub fn new(id: MemoryId, content: impl Into<String>, tags: Vec<String>, recorded_at: Timestamp) -> Self {
        Self {
            id,
            content: content.into(),
            tags,
            recorded_at,
            version: first(),
            updated_at: None,
            kind: None,
            metadata: Metadata::new(),
            importance: middle(),
            trust: Trust::User,
            actor: None,
            thread: None,
            derived_from: Vec::new(),
            derived_by: None,
            occurred_at: None,
            expires_at: None,
            superseded_by: None,
        }
    }

    /// When this version was written.
    pub fn written_at(&self) -> Timestamp {
        self.updated_at.unwrap_or(self.recorded_at)
    }

    /// Whether it can be read no more at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// Whether two memories say the same: content and kind are equal byte for byte.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.content == other.content && self.kind == other.kind
    }

    /// A number that is equal for memories that say the same, to look duplicates up by.
    pub fn content_key(&self) -> u64 {
        let kind = self.kind.as_deref().unwrap_or_default();
        let [a, b, c, d, e, f, g, h, ..] = ContentHash::of(format!("{kind}\u{1f}{}", self.content)).0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

fn first() -> u32 {
    1
}

fn is_first(version: &u32) -> bool {
    *version == first()
}

fn middle() -> f64 {
    0.5
}

fn is_middle(importance: &f64) -> bool {
    *importance == middle()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_versions_stored_is_read_and_little_is_written() {
        let stored = r#"{"id":"mem-1","content":"Fact A","tags":["t1"],"recorded_at":5}"#;
        let entry: Entry = serde_json::from_str(stored).unwrap();
        let expected = Entry::new(
            MemoryId::new("mem-1").unwrap(),
            "Fact A",
            vec!["t1".into()],
            Timestamp::from_millis(5),
        );
        assert_eq!(entry, expected);
        assert_eq!(serde_json::to_string(&entry).unwrap(), stored);
    }

    #[test]
    fn the_least_trusted_comes_first() {
        assert!(Trust::ALL.is_sorted());
        for trust in Trust::ALL {
            assert_eq!(serde_json::to_value(trust).unwrap(), trust.as_str());
        }
    }
}
