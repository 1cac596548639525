//! Several tools: listed by a server, or kept by name.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;

use super::{ToolHandle, ToolSpec};
use crate::error::Result;
use crate::id::ToolName;

/// Something that lists tools: a fixed set, or a server that is asked.
#[async_trait]
pub trait ToolSet: fmt::Debug + Send + Sync + 'static {
    /// The tools, each name once.
    async fn tools(&self) -> Result<Vec<ToolHandle>>;
}

/// Tools by name.
#[derive(Clone, Debug, Default)]
pub struct Tools(BTreeMap<String, ToolHandle>);

impl Tools {
    /// No tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tool; an earlier one of the same name is replaced. The name must be a [`ToolName`].
    pub fn insert(&mut self, tool: ToolHandle) -> Result<()> {
        let name = ToolName::new(tool.spec().name.as_str())?;
        self.0.insert(name.as_str().to_owned(), tool);
        Ok(())
    }

    /// The tool of this name.
    pub fn get(&self, name: &str) -> Option<&ToolHandle> {
        self.0.get(name)
    }

    /// The specs in order of their names.
    pub fn specs(&self) -> Vec<ToolSpec> {
        self.0.values().map(|tool| tool.spec().clone()).collect()
    }
}

#[async_trait]
impl ToolSet for Tools {
    async fn tools(&self) -> Result<Vec<ToolHandle>> {
        Ok(self.0.values().cloned().collect())
    }
}
