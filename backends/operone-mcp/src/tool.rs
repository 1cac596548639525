//! A server's tool as the host sees it: its name, its schema, and how far it is trusted.

use operone_core::id::MAX_ID_LENGTH;
use operone_core::tool::{ToolClass, ToolSpec};
use rmcp::model::Tool;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::ToolPolicy;
use crate::error::cut;

/// The longest description that is shown to a model, in bytes.
const MAX_DESCRIPTION: usize = 8 << 10;
/// The largest schema of a tool, in bytes; a tool with a larger one is left out.
const MAX_SCHEMA: usize = 64 << 10;

/// What the host and the models see of a server's tool; nothing for one that no model could use.
pub(crate) fn spec(server: &str, tool: &Tool, policy: ToolPolicy) -> Option<ToolSpec> {
    let mut schema = tool.input_schema.as_ref().clone();
    schema.entry("type").or_insert_with(|| Value::from("object"));
    let schema = Value::Object(schema);
    if tool.name.is_empty() || schema.to_string().len() > MAX_SCHEMA {
        tracing::warn!(
            server,
            tool = cut(&tool.name, 128),
            "a tool of an MCP server is left out: no name, or too large a schema"
        );
        return None;
    }
    let annotations = tool.annotations.as_ref();
    let declared = if annotations.and_then(|hints| hints.read_only_hint) == Some(true) {
        ToolClass::Read
    } else if annotations.and_then(|hints| hints.idempotent_hint) == Some(true) {
        ToolClass::Idempotent
    } else {
        ToolClass::Once
    };
    let open_world = annotations.and_then(|hints| hints.open_world_hint).unwrap_or(true);
    let description = tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default();
    let mut spec = ToolSpec::new(name(server, &tool.name), cut(description, MAX_DESCRIPTION))
        .with_input_schema(schema)
        .with_class(policy.class.unwrap_or(declared));
    spec.egress = policy.egress.unwrap_or(open_world);
    spec.untrusted = policy.untrusted.unwrap_or(true);
    Some(spec)
}

/// `<server>.<tool>`. Where the tool's own name does not fit, it is made to fit and a part of its hash tells it from
/// others: the name depends on nothing else that the server offers.
fn name(server: &str, tool: &str) -> String {
    let allowed =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | ':');
    let fitting: String =
        tool.chars().map(|character| if allowed(character) { character } else { '_' }).collect();
    let mut name = format!("{server}.{fitting}");
    if fitting != tool || name.len() > MAX_ID_LENGTH {
        let hash: String =
            Sha256::digest(tool.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        name.truncate(MAX_ID_LENGTH - hash.len() - 1);
        name = format!("{name}-{hash}");
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use operone_core::id::ToolName;
    use serde_json::json;

    use super::*;

    fn tool(value: Value) -> Tool {
        serde_json::from_value(value).unwrap()
    }

    fn spec_of(annotations: Value) -> ToolSpec {
        let tool = tool(json!({"name": "t", "inputSchema": {}, "annotations": annotations}));
        spec("s", &tool, ToolPolicy::default()).unwrap()
    }

    #[test]
    fn names_fit_and_are_told_apart() {
        let long = "x".repeat(300);
        let given = ["echo", "a b", "a/b", "a_b", "größe", &long, &format!("{long}y")];
        let names: BTreeSet<String> = given.iter().map(|tool| name("s", tool)).collect();
        assert_eq!(names.len(), given.len(), "{names:?}");
        for name in &names {
            assert!(ToolName::new(name.as_str()).is_ok() && name.starts_with("s."), "{name}");
        }
        assert!(names.contains("s.echo") && names.contains("s.a_b"));
        assert_eq!(name("s", "a b"), name("s", "a b"));
    }

    #[test]
    fn what_is_not_declared_is_taken_at_its_worst() {
        let plain = tool(json!({"name": "t", "description": "d", "inputSchema": {"properties": {}}}));
        let spec = spec("s", &plain, ToolPolicy::default()).unwrap();
        assert_eq!((spec.class, spec.egress, spec.untrusted), (ToolClass::Once, true, true));
        assert_eq!(spec.input_schema, json!({"type": "object", "properties": {}}));
        assert_eq!(spec.description, "d");
    }

    #[test]
    fn annotations_say_what_a_tool_may_do() {
        let read = spec_of(json!({"readOnlyHint": true, "openWorldHint": false}));
        assert_eq!((read.class, read.egress, read.untrusted), (ToolClass::Read, false, true));
        let again = spec_of(json!({"readOnlyHint": false, "idempotentHint": true}));
        assert_eq!((again.class, again.egress), (ToolClass::Idempotent, true));
        assert_eq!(
            spec_of(json!({"idempotentHint": false, "destructiveHint": false})).class,
            ToolClass::Once
        );
    }

    #[test]
    fn the_host_knows_better() {
        let tool = tool(json!({"name": "t", "inputSchema": {}, "annotations": {"readOnlyHint": true}}));
        let policy =
            ToolPolicy::new().with_class(ToolClass::Once).with_egress(false).with_untrusted_output(false);
        let spec = spec("s", &tool, policy).unwrap();
        assert_eq!((spec.class, spec.egress, spec.untrusted), (ToolClass::Once, false, false));
    }

    #[test]
    fn a_schema_that_would_fill_the_context_is_left_out() {
        let schema = json!({"description": "x".repeat(MAX_SCHEMA)});
        assert!(
            spec("s", &tool(json!({"name": "t", "inputSchema": schema})), ToolPolicy::default()).is_none()
        );
    }
}
