//! Values between JSON and Postgres, which gives and takes all of them as text.

use operone_core::{Error, Result};
use serde_json::Value;
use sqlx::TypeInfo;
use sqlx::postgres::{PgTypeInfo, PgTypeKind};

/// A parameter as a literal of SQL: the server reads it as the type that the statement wants at its place.
pub(super) fn literal(value: &Value, wanted: Option<&PgTypeInfo>) -> Result<String> {
    let text = match value {
        Value::Null => return Ok("NULL".to_owned()),
        Value::String(text) => text.clone(),
        Value::Array(items) if wanted.is_some_and(is_array) => array_literal(items),
        other => other.to_string(),
    };
    if text.contains('\0') {
        let detail = "a parameter contains the character 0, which Postgres does not take";
        return Err(Error::invalid(detail).with_code("invalid_parameters"));
    }
    Ok(format!("'{}'", text.replace('\'', "''")))
}

fn is_array(wanted: &PgTypeInfo) -> bool {
    matches!(wanted.kind(), PgTypeKind::Array(_))
}

fn array_literal(items: &[Value]) -> String {
    let items = items.iter().map(|item| match item {
        Value::Null => "NULL".to_owned(),
        Value::Array(items) => array_literal(items),
        Value::String(text) => quoted_element(text),
        other => quoted_element(&other.to_string()),
    });
    format!("{{{}}}", items.collect::<Vec<_>>().join(","))
}

fn quoted_element(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The expression that gives a column as text, at most `most` characters of it.
pub(super) fn as_text(column: &str, type_info: &PgTypeInfo, most: usize) -> String {
    if type_info.name() == "BYTEA" {
        format!("pg_catalog.encode(pg_catalog.substr({column}, 1, {most}), 'base64')")
    } else {
        format!("pg_catalog.left({column}::pg_catalog.text, {most})")
    }
}

/// A value that came as text: numbers, booleans and JSON as such, times in ISO 8601, arrays as lists, `numeric` as text,
/// since JSON numbers may not hold it exactly.
pub(super) fn json(text: &str, type_info: &PgTypeInfo) -> Value {
    if let PgTypeKind::Array(element) = type_info.kind() {
        return array(text, element).unwrap_or_else(|| text.into());
    }
    let number = |number: Option<serde_json::Number>| number.map_or_else(|| text.into(), Value::Number);
    match type_info.name() {
        "BOOL" => match text {
            "true" | "t" => true.into(),
            "false" | "f" => false.into(),
            _ => text.into(),
        },
        "INT2" | "INT4" | "INT8" | "OID" => number(text.parse::<i64>().ok().map(Into::into)),
        "FLOAT4" | "FLOAT8" => number(text.parse().ok().and_then(serde_json::Number::from_f64)),
        "JSON" | "JSONB" => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        "TIMESTAMP" => time(text).into(),
        "TIMESTAMPTZ" => match text.strip_suffix("+00") {
            Some(utc) => format!("{}Z", time(utc)).into(),
            None => text.into(),
        },
        "BYTEA" => text.replace('\n', "").into(),
        _ => text.into(),
    }
}

/// `2024-03-01 12:00:00` with a `T`; what is no such time, `infinity` for instance, as it is.
fn time(text: &str) -> String {
    match text.split_once(' ') {
        Some((date, time)) if !time.contains(' ') => format!("{date}T{time}"),
        _ => text.to_owned(),
    }
}

/// The list for an array such as `{1,NULL,"a, b"}` or `[0:1]={1,2}`.
fn array(text: &str, element: &PgTypeInfo) -> Option<Value> {
    let text = match text.strip_prefix('[') {
        Some(bounds) => bounds.split_once('=')?.1,
        None => text,
    };
    // Geometric boxes are the one type whose elements are parted by another character.
    if element.name() == "BOX" {
        return None;
    }
    let mut characters = text.chars().peekable();
    let value = list(&mut characters, element)?;
    characters.next().is_none().then_some(value)
}

fn list(characters: &mut std::iter::Peekable<std::str::Chars<'_>>, element: &PgTypeInfo) -> Option<Value> {
    if characters.next()? != '{' {
        return None;
    }
    let mut items = Vec::new();
    if characters.next_if_eq(&'}').is_some() {
        return Some(Value::Array(items));
    }
    loop {
        items.push(match characters.peek()? {
            '{' => list(characters, element)?,
            '"' => {
                characters.next();
                json(&quoted(characters)?, element)
            }
            _ => {
                let mut text = String::new();
                while let Some(character) = characters.next_if(|character| !matches!(character, ',' | '}')) {
                    text.push(character);
                }
                if text == "NULL" { Value::Null } else { json(&text, element) }
            }
        });
        match characters.next()? {
            ',' => {}
            '}' => return Some(Value::Array(items)),
            _ => return None,
        }
    }
}

fn quoted(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut text = String::new();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            '\\' => text.push(characters.next()?),
            character => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_literal_cannot_be_left() {
        for (value, expected) in [
            (json!(null), "NULL"),
            (json!("it's"), "'it''s'"),
            (json!("'; DROP TABLE orders; --"), "'''; DROP TABLE orders; --'"),
            (json!("back\\slash\\'"), "'back\\slash\\'''"),
            (json!(true), "'true'"),
            (json!(9_007_199_254_740_993_i64), "'9007199254740993'"),
            (json!({"a": "b'c"}), "'{\"a\":\"b''c\"}'"),
        ] {
            assert_eq!(literal(&value, None).unwrap(), expected);
        }
        assert!(literal(&json!("a\0b"), None).is_err());
        assert_eq!(array_literal(&[json!("a\"b\\"), json!(1), json!(null)]), "{\"a\\\"b\\\\\",\"1\",NULL}");
    }

    #[test]
    fn arrays_are_lists() {
        let text = <String as sqlx::Type<sqlx::Postgres>>::type_info();
        for (given, expected) in [
            ("{}", json!([])),
            ("{a,NULL,\"NULL\",\"b, {c} \\\"d\\\" \\\\\"}", json!(["a", null, "NULL", "b, {c} \"d\" \\"])),
            ("[0:1]={a,b}", json!(["a", "b"])),
            ("{{a,b},{c,d}}", json!([["a", "b"], ["c", "d"]])),
        ] {
            assert_eq!(array(given, &text), Some(expected), "{given}");
        }
        assert_eq!(array("{a", &text), None);
        assert_eq!(array("{a}b", &text), None);
    }

    #[test]
    fn times_are_iso_8601() {
        assert_eq!(time("2024-03-01 12:00:00.5"), "2024-03-01T12:00:00.5");
        assert_eq!(time("infinity"), "infinity");
        assert_eq!(time("0044-03-15 12:00:00 BC"), "0044-03-15 12:00:00 BC");
    }
}
