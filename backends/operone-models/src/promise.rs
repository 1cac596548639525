//! Holds an answer to what was asked for, since some services pass over what they do not know.

use operone_core::model::{FinishReason, ModelEvent, ModelRequest, ResponseSchema, ToolChoice};
use operone_core::{Error, ErrorKind, Result};
use serde_json::Value;

/// The longest answer that is kept for looking at its shape, in bytes.
const MAX_TEXT: usize = 8 * 1024 * 1024;

/// What an answer must keep.
#[derive(Debug)]
pub(crate) struct Promise {
    tool_choice: ToolChoice,
    schema: Option<ResponseSchema>,
    /// The answer so far, where it has a shape to keep.
    text: String,
    called: Vec<String>,
}

impl Promise {
    pub(crate) fn of(request: &ModelRequest) -> Self {
        Self {
            tool_choice: request.settings.tool_choice.clone(),
            schema: request.response_schema.clone(),
            text: String::new(),
            called: Vec::new(),
        }
    }

    /// Looks at the next part of the answer.
    pub(crate) fn check(&mut self, event: &ModelEvent) -> Result<()> {
        match event {
            ModelEvent::Text(text) if self.schema.is_some() => {
                if self.text.len() + text.len() > MAX_TEXT {
                    return Err(broken("its answer is longer than 8 MiB"));
                }
                self.text.push_str(text);
                Ok(())
            }
            ModelEvent::Call(call) => {
                self.called.push(call.name.clone());
                Ok(())
            }
            ModelEvent::Done(finish) => match finish.reason {
                FinishReason::Stop | FinishReason::ToolCalls => self.check_end(),
                // What was cut off or withheld keeps no shape, and its reason says so.
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn check_end(&self) -> Result<()> {
        match &self.tool_choice {
            ToolChoice::None if !self.called.is_empty() => {
                return Err(broken("it called a tool though none was to be called"));
            }
            ToolChoice::Required if self.called.is_empty() => {
                return Err(broken("it called no tool though one was to be called"));
            }
            ToolChoice::Tool(name) if self.called.iter().all(|called| called != name) => {
                return Err(broken(&format!("it did not call '{name}' though that was to be called")));
            }
            _ => {}
        }
        match &self.schema {
            Some(schema) if self.called.is_empty() => check_shape(&self.text, &schema.schema),
            _ => Ok(()),
        }
    }
}

/// Whether the text is JSON, of the type that the schema names, with the keys that it wants. What lies deeper is the
/// caller's to check when it reads the text into a type.
fn check_shape(text: &str, schema: &Value) -> Result<()> {
    let value: Value = serde_json::from_str(text)
        .map_err(|_| broken("its answer is no JSON though it was to have a schema"))?;
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !fits {
        return Err(broken("its answer is JSON of another type than the schema says"));
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match required.into_iter().find(|key| value.get(key).is_none()) {
        Some(missing) => Err(broken(&format!("its answer lacks '{missing}', which the schema wants"))),
        None => Ok(()),
    }
}

fn broken(what: &str) -> Error {
    let detail = format!("the model service did not do what the request asked for: {what}");
    Error::new(ErrorKind::Unavailable, detail).with_code("option_not_honoured").with_retryable(false)
}

#[cfg(test)]
mod tests {
    use operone_core::model::{Finish, ModelSettings, ToolCall, Usage};
    use serde_json::json;

    use super::*;

    fn end(request: &ModelRequest, parts: &[ModelEvent], reason: FinishReason) -> Result<()> {
        let mut promise = Promise::of(request);
        for part in parts {
            promise.check(part)?;
        }
        promise.check(&ModelEvent::Done(Finish::new(reason, Usage::default())))
    }

    #[test]
    fn a_shape_is_held() {
        let schema = json!({"type": "object", "required": ["city"]});
        let request = ModelRequest::default().with_response_schema(ResponseSchema::new("answer", schema));
        for (text, fits) in [
            ("{\"city\":\"Paris\"}", true),
            ("{\"city\":null, \"more\": 1}", true),
            ("{\"town\":1}", false),
            ("[\"city\"]", false),
            ("Paris", false),
            ("", false),
        ] {
            let (first, second) = text.split_at(text.len() / 2);
            let parts = [first, second].map(|part| ModelEvent::Text(part.to_owned()));
            let ended = end(&request, &parts, FinishReason::Stop);
            assert_eq!(ended.is_ok(), fits, "{text}");
            assert!(ended.is_ok_and(|()| fits) || !fits);
            assert!(end(&request, &parts, FinishReason::Length).is_ok(), "a cut answer says so itself");
        }
    }

    #[test]
    fn a_choice_of_tools_is_held() {
        let call = ModelEvent::Call(ToolCall::new("1", "look", "{}"));
        for (choice, calls, kept) in [
            (ToolChoice::Auto, true, true),
            (ToolChoice::None, false, true),
            (ToolChoice::None, true, false),
            (ToolChoice::Required, true, true),
            (ToolChoice::Required, false, false),
            (ToolChoice::Tool("look".into()), true, true),
            (ToolChoice::Tool("other".into()), true, false),
        ] {
            let request = ModelRequest::default()
                .with_settings(ModelSettings::default().with_tool_choice(choice.clone()));
            let parts = if calls { vec![call.clone()] } else { Vec::new() };
            let ended = end(&request, &parts, FinishReason::Stop);
            assert_eq!(ended.is_ok(), kept, "{choice:?} {calls}");
            assert!(ended.err().is_none_or(|error| error.code() == "option_not_honoured"));
        }
    }
}
