//! What a tool answered, as JSON for a model: bounded, and without pictures.

use operone_core::{Error, Result};
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::Value;

use crate::error::{cut, tool_failed};

/// The longest output, in bytes.
pub(crate) const MAX_OUTPUT: usize = 256 << 10;
/// The longest text of an embedded resource that is repeated; a longer one is named, in bytes.
const MAX_INLINE: usize = 64 << 10;

/// The structured answer where there is one, else the text. A failure that the tool reports is an error with code
/// `tool_failed`.
pub(crate) fn output(result: CallToolResult) -> Result<Value, Error> {
    if result.is_error == Some(true) {
        let text = text(&result.content);
        return Err(tool_failed(&match (text.is_empty(), &result.structured_content) {
            (true, Some(structured)) => structured.to_string(),
            _ => text,
        }));
    }
    let Some(structured) = result.structured_content else {
        return Ok(Value::String(cut(&text(&result.content), MAX_OUTPUT)));
    };
    let written = structured.to_string();
    if written.len() <= MAX_OUTPUT { Ok(structured) } else { Ok(Value::String(cut(&written, MAX_OUTPUT))) }
}

fn text(content: &[ContentBlock]) -> String {
    content.iter().map(block).collect::<Vec<_>>().join("\n")
}

fn block(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => named("image", &image.mime_type, decoded(&image.data)),
        ContentBlock::Audio(audio) => named("audio", &audio.mime_type, decoded(&audio.data)),
        ContentBlock::ResourceLink(link) => {
            let mime_type = link.mime_type.as_deref().unwrap_or("unknown type");
            format!("[link to the resource {} ({}), {mime_type}]", cut(&link.uri, 2048), cut(&link.name, 256))
        }
        ContentBlock::Resource(embedded) => match &embedded.resource {
            ResourceContents::TextResourceContents { text, .. } if text.len() <= MAX_INLINE => text.clone(),
            ResourceContents::TextResourceContents { uri, mime_type, text, .. } => {
                resource(uri, mime_type.as_deref(), text.len())
            }
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                resource(uri, mime_type.as_deref(), decoded(blob))
            }
            _ => "[a resource of unknown kind]".to_owned(),
        },
        _ => "[content of unknown kind]".to_owned(),
    }
}

fn named(what: &str, mime_type: &str, bytes: usize) -> String {
    format!("[{what}, {}, {bytes} bytes, not shown]", cut(mime_type, 128))
}

fn resource(uri: &str, mime_type: Option<&str>, bytes: usize) -> String {
    let uri = cut(uri, 2048);
    format!("[resource {uri}, {}, {bytes} bytes, not shown]", cut(mime_type.unwrap_or("unknown type"), 128))
}

/// The bytes that a base64 text stands for.
fn decoded(base64: &str) -> usize {
    base64.trim_end_matches('=').len() / 4 * 3 + base64.trim_end_matches('=').len() % 4 * 3 / 4
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(result: Value) -> Result<Value> {
        output(serde_json::from_value(result).unwrap())
    }

    #[test]
    fn texts_are_joined_and_the_rest_is_named() {
        let content = json!({"content": [
            {"type": "text", "text": "one"},
            {"type": "image", "data": "AAAAAA==", "mimeType": "image/png"},
            {"type": "resource", "resource": {"uri": "a:b", "mimeType": "text/plain", "text": "two"}},
            {"type": "resource", "resource": {"uri": "a:c", "blob": "AAAA"}},
            {"type": "resource_link", "uri": "a:d", "name": "d"},
        ]});
        let expected = "one\n[image, image/png, 4 bytes, not shown]\ntwo\n\
                        [resource a:c, unknown type, 3 bytes, not shown]\n\
                        [link to the resource a:d (d), unknown type]";
        assert_eq!(answered(content).unwrap(), expected);
    }

    #[test]
    fn structured_content_comes_first() {
        let content = json!({"content": [{"type": "text", "text": "x"}], "structuredContent": {"a": 1}});
        assert_eq!(answered(content).unwrap(), json!({"a": 1}));
        assert_eq!(answered(json!({"structuredContent": null, "content": []})).unwrap(), Value::Null);
    }

    #[test]
    fn a_failure_is_an_error_in_the_tools_words() {
        let error = answered(json!({"isError": true, "content": [{"type": "text", "text": "no such city"}]}))
            .unwrap_err();
        assert_eq!((error.code(), error.message()), ("tool_failed", "no such city"));
        assert!(!error.is_retryable());
        let error = answered(json!({"isError": true, "content": []})).unwrap_err();
        assert!(!error.message().is_empty());
    }

    #[test]
    fn the_output_is_bounded() {
        let long = "ä".repeat(MAX_OUTPUT);
        for result in [
            json!({"content": [{"type": "text", "text": long}]}),
            json!({"content": [], "structuredContent": {"a": long}}),
        ] {
            let output = answered(result).unwrap();
            let text = output.as_str().unwrap();
            assert!(text.len() < MAX_OUTPUT + 100 && text.ends_with("bytes]"), "{}", text.len());
        }
        let resource = json!({"uri": "a:b", "text": "x".repeat(MAX_INLINE + 1)});
        let output = answered(json!({"content": [{"type": "resource", "resource": resource}]})).unwrap();
        assert_eq!(output, "[resource a:b, unknown type, 65537 bytes, not shown]");
    }
}
