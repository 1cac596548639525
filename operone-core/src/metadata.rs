//! Metadata of documents: strings, numbers, booleans and lists of strings.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a caller says of a document, by key.
pub type Metadata = BTreeMap<String, MetadataValue>;

/// One value of [`Metadata`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum MetadataValue {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number; never NaN.
    Float(f64),
    /// A string.
    Text(String),
    /// Several strings.
    List(Vec<String>),
}

impl MetadataValue {
    /// Whether the two are the same; a whole number equals the same number with a fraction of zero, and a
    /// list equals a string that it contains.
    pub fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(list), Self::Text(text)) | (Self::Text(text), Self::List(list)) => {
                list.contains(text)
            }
            (Self::List(one), Self::List(other)) => one == other,
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }

    /// The order of the two; `None` where the kinds differ or have no order.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Boolean(one), Self::Boolean(other)) => Some(one.cmp(other)),
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            (Self::Integer(one), Self::Integer(other)) => Some(one.cmp(other)),
            _ => self.as_number()?.partial_cmp(&other.as_number()?),
        }
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            // Beyond 2^53 neighbours fall together, which only a mixed comparison can notice.
            Self::Integer(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }
}

impl From<&str> for MetadataValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for MetadataValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for MetadataValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}
