//! Where two requests differ, without what they say.

use serde_json::Value;

/// How far a difference is followed: down to a field of a message or tool.
const DEPTH: usize = 3;

/// The places in which two requests differ, such as `messages[2].content`; never what stands there.
pub(super) fn differences(one: &Value, other: &Value) -> Vec<String> {
    let mut places = Vec::new();
    compare(one, other, "", DEPTH, &mut places);
    places
}

fn compare(one: &Value, other: &Value, place: &str, depth: usize, places: &mut Vec<String>) {
    if one == other {
        return;
    }
    match (one, other) {
        (Value::Object(one), Value::Object(other)) if depth > 0 => {
            let added = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(added) {
                let below = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                compare(field(one.get(key)), field(other.get(key)), &below, depth - 1, places);
            }
        }
        (Value::Array(one), Value::Array(other)) if depth > 0 => {
            for index in 0..one.len().max(other.len()) {
                let below = format!("{place}[{index}]");
                compare(field(one.get(index)), field(other.get(index)), &below, depth - 1, places);
            }
        }
        _ => places.push(place.to_owned()),
    }
}

fn field(value: Option<&Value>) -> &Value {
    value.unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_named_and_contents_are_not() {
        let one = json!({"messages": [{"role": "user", "content": "secret"}], "temperature": 0.5});
        let other = json!({"messages": [{"role": "user", "content": "other"}, {"role": "user"}], "seed": 1});
        let found = differences(&one, &other);
        assert_eq!(found, ["messages[0].content", "messages[1]", "temperature", "seed"]);
        assert_eq!(differences(&one, &one), [""; 0]);
    }

    #[test]
    fn a_schema_is_one_place() {
        let schema = |name: &str| json!({"tools": [{"input_schema": {"properties": {name: {}}}}]});
        assert_eq!(differences(&schema("a"), &schema("b")), ["tools[0].input_schema"]);
    }
}
