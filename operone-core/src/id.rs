//! Names and ids: checked once where they enter, so that no function inside checks again.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};

/// The longest id or name, in bytes.
pub const MAX_ID_LENGTH: usize = 128;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks `id`: 1 to [`MAX_ID_LENGTH`] ASCII letters, digits, `-`, `_`, `.` or `:`.
            pub fn new(id: impl Into<String>) -> Result<Self> {
                let id = id.into();
                check(&id, stringify!($name))?;
                Ok(Self(id))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// Whose data it is. One server can serve many; nothing crosses from one to another.
    TenantId
}
id! {
    /// An agent: a UUIDv7.
    AgentId
}
id! {
    /// A unit of durable work in the journal: a run of an agent (`run-<uuidv7>`) or a job (`job-<uuidv7>`).
    WorkId
}
id! {
    /// A call that waits for a person: `apr-` and a hash of the run, the step and the arguments.
    ApprovalId
}
id! {
    /// A document: a UUID derived from tenant, collection and source, so that the same source keeps its id.
    DocId
}
id! {
    /// A memory: `mem-<uuidv7>`.
    MemoryId
}
id! {
    /// The name of a tool, for instance `file.read`.
    ToolName
}

fn check(id: &str, kind: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    if id.is_empty() || id.len() > MAX_ID_LENGTH || !id.bytes().all(allowed) {
        return Err(Error::invalid(format!(
            "a {kind} has 1 to {MAX_ID_LENGTH} letters, digits, '-', '_', '.' or ':'"
        ))
        .with_code("invalid_id"));
    }
    Ok(())
}

impl TenantId {
    /// The tenant of a program that serves only one.
    pub fn local() -> Self {
        Self("local".into())
    }
}

impl AgentId {
    /// A new agent's id.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid.to_string())
    }
}

impl WorkId {
    /// The id of a new run.
    pub fn run(uuid: Uuid) -> Self {
        Self(format!("run-{uuid}"))
    }

    /// The id of a new job.
    pub fn job(uuid: Uuid) -> Self {
        Self(format!("job-{uuid}"))
    }
}

impl MemoryId {
    /// The id of a new memory.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(format!("mem-{uuid}"))
    }
}

impl DocId {
    /// The id of the document that `uri` names in a collection; always the same for the same three.
    pub fn derive(collection: &crate::chunk::Collection, uri: &str) -> Self {
        let name = format!("{}\u{1f}{}\u{1f}{uri}", collection.tenant, collection.name);
        Self(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string())
    }
}

/// Where new ids come from; tests and simulations replace it.
pub trait Ids: fmt::Debug + Send + Sync + 'static {
    /// A new UUIDv7, later than every earlier one of this source.
    fn next(&self) -> Uuid;
}

/// Ids from the system's clock and randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_checked_also_when_deserialized() {
        assert!(AgentId::new("").is_err());
        assert!(AgentId::new("a/b").is_err());
        assert!(AgentId::new("a".repeat(MAX_ID_LENGTH + 1)).is_err());
        assert!(serde_json::from_str::<AgentId>("\"a b\"").is_err());
        assert_eq!(serde_json::from_str::<AgentId>("\"a-b\"").unwrap().as_str(), "a-b");
    }
}
