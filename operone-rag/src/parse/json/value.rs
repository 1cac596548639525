//! Values of JSON with their members in the order in which they were written, and no more of them than allowed.

use std::fmt;

use operone_core::{Error, Result};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

/// The deepest nesting that is read; the reader's own limit.
pub(super) const MAX_DEPTH: usize = 127;

/// A value; numbers and truth values are texts, since that is all they are read for.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Text(Box<str>),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

/// Reads a text that holds one value, of at most so many values in all. Codes: `too_large`, `corrupt`.
pub(super) fn parse_value(text: &str, most: usize) -> Result<Value> {
    let text = text.trim_start_matches('\u{feff}');
    let mut left = most;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value =
        Values { left: &mut left }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| {
        let refused = if left == 0 {
            Error::invalid(format!("the document has more than {most} values")).with_code("too_large")
        } else if super::nests_too_deep(text) {
            Error::invalid(format!("the document nests values more than {MAX_DEPTH} deep"))
                .with_code("too_large")
        } else {
            Error::invalid("the document is not JSON").with_code("corrupt")
        };
        refused.with_source(error)
    })
}

struct Values<'a> {
    left: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Value, D::Error> {
        *self.left = self.left.saturating_sub(1);
        if *self.left == 0 {
            return Err(D::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Text(value.to_string().into()))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(Value::Text(value.to_string().into()))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(Value::Text(value.to_string().into()))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(Value::Text(value.to_string().into()))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(Value::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Values { left: self.left })? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Value, A::Error> {
        let mut object = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            object.push((name, members.next_value_seed(Values { left: self.left })?));
        }
        Ok(Value::Object(object))
    }
}
