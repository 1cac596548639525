//! Which calls of an agent need a person's approval.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::journal::ApprovalReason;
use crate::tool::{ToolClass, ToolSpec};

/// Which calls of an agent wait for a person.
///
/// By default those that follow strangers' text: once a document, a page or a memory is in the context, a tool that
/// sends things out, or that must not run twice, is not called without approval. What the text says can then not
/// make the agent give away what it knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ApprovalPolicy {
    /// Tools that always need it, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Classes of tools that always need it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ToolClass>,
    /// Whether tools that send things out or must not run twice need it while strangers' text is in the context.
    pub tainted: bool,
    /// Seconds after which an approval that nobody decided counts as denied.
    pub expires_in: u64,
}

impl Default for ApprovalPolicy {
    fn default() -> Self {
        Self { tools: Vec::new(), classes: Vec::new(), tainted: true, expires_in: 24 * 60 * 60 }
    }
}

impl ApprovalPolicy {
    /// Nothing needs approval but a call whose outcome is unknown after a crash.
    pub fn never() -> Self {
        Self { tainted: false, ..Self::default() }
    }

    /// Makes a tool need approval.
    #[must_use]
    pub fn with_tool(mut self, name: impl Into<String>) -> Self {
        self.tools.push(name.into());
        self
    }

    /// Makes a class of tools need approval.
    #[must_use]
    pub fn with_class(mut self, class: ToolClass) -> Self {
        self.classes.push(class);
        self
    }

    /// Sets how long an approval stays open.
    #[must_use]
    pub fn with_expires_in(mut self, expires_in: Duration) -> Self {
        self.expires_in = expires_in.as_secs();
        self
    }

    /// Why a call of this tool needs approval, if it does.
    pub fn reason(&self, tool: &ToolSpec, tainted: bool) -> Option<ApprovalReason> {
        if self.tools.contains(&tool.name) {
            Some(ApprovalReason::Config)
        } else if self.classes.contains(&tool.class) {
            Some(ApprovalReason::Class)
        } else if self.tainted && tainted && (tool.egress || tool.class == ToolClass::Once) {
            Some(ApprovalReason::Tainted)
        } else {
            None
        }
    }
}
