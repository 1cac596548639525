//! The filter language: one meaning in every store, applied before the cut to the best results.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{Period, Timestamp};
use crate::error::Result;
use crate::metadata::{Metadata, MetadataValue};

/// Which documents may be found.
///
/// As JSON each filter is an object with one key, its operator:
///
/// ```
/// # use operone_core::filter::Filter;
/// let filter: Filter = serde_json::from_str(
///     r#"{"and": [{"eq": {"priority": "high"}}, {"not": {"in": {"year": [2021, 2022]}}}, {"exists": "author"}]}"#,
/// )?;
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// A comparison with several keys holds if it holds for each. A key that the document lacks makes every
/// comparison but `ne` false. Values of different kinds are unequal and have no order; a list equals a
/// string that it contains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Filter {
    /// Equal.
    Eq(BTreeMap<String, MetadataValue>),
    /// Not equal, or absent.
    Ne(BTreeMap<String, MetadataValue>),
    /// Equal to one of several.
    In(BTreeMap<String, Vec<MetadataValue>>),
    /// Greater.
    Gt(BTreeMap<String, MetadataValue>),
    /// Greater or equal.
    Gte(BTreeMap<String, MetadataValue>),
    /// Less.
    Lt(BTreeMap<String, MetadataValue>),
    /// Less or equal.
    Lte(BTreeMap<String, MetadataValue>),
    /// The key is present.
    Exists(String),
    /// All hold; true if there is none.
    And(Vec<Filter>),
    /// At least one holds; false if there is none.
    Or(Vec<Filter>),
    /// Does not hold.
    Not(Box<Filter>),
    /// The document's date lies between the two, both included. A document without a date does not match.
    DateRange(DateRange),
}

/// Two points in time, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DateRange {
    /// The first millisecond that matches.
    pub first: Timestamp,
    /// The last millisecond that matches.
    pub last: Timestamp,
}

impl DateRange {
    /// From the begin of `from` to the end of `to`; each is an ISO 8601 date, which covers its whole UTC
    /// day, or a time.
    pub fn parse(from: &str, to: &str) -> Result<Self> {
        Ok(Self { first: Period::parse(from)?.first, last: Period::parse(to)?.last })
    }
}

impl Filter {
    /// A filter that holds for documents whose `key` equals `value`.
    pub fn eq(key: impl Into<String>, value: impl Into<MetadataValue>) -> Self {
        Self::Eq(BTreeMap::from([(key.into(), value.into())]))
    }

    /// Whether a document with this metadata and date may be found.
    pub fn matches(&self, metadata: &Metadata, date: Option<Timestamp>) -> bool {
        let all = |operands: &BTreeMap<String, MetadataValue>,
                   test: &dyn Fn(&MetadataValue, &MetadataValue) -> bool| {
            operands.iter().all(|(key, operand)| metadata.get(key).is_some_and(|value| test(value, operand)))
        };
        let ordered = |operands, accepted: &[Ordering]| {
            all(operands, &|value, operand| {
                value.compare(operand).is_some_and(|order| accepted.contains(&order))
            })
        };
        match self {
            Self::Eq(operands) => all(operands, &MetadataValue::matches),
            Self::Ne(operands) => operands
                .iter()
                .all(|(key, operand)| !metadata.get(key).is_some_and(|value| value.matches(operand))),
            Self::In(operands) => operands.iter().all(|(key, several)| {
                metadata.get(key).is_some_and(|value| several.iter().any(|operand| value.matches(operand)))
            }),
            Self::Gt(operands) => ordered(operands, &[Ordering::Greater]),
            Self::Gte(operands) => ordered(operands, &[Ordering::Greater, Ordering::Equal]),
            Self::Lt(operands) => ordered(operands, &[Ordering::Less]),
            Self::Lte(operands) => ordered(operands, &[Ordering::Less, Ordering::Equal]),
            Self::Exists(key) => metadata.contains_key(key),
            Self::And(filters) => filters.iter().all(|filter| filter.matches(metadata, date)),
            Self::Or(filters) => filters.iter().any(|filter| filter.matches(metadata, date)),
            Self::Not(filter) => !filter.matches(metadata, date),
            Self::DateRange(range) => date.is_some_and(|date| range.first <= date && date <= range.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(filter: &str) -> bool {
        let metadata: Metadata =
            serde_json::from_str(r#"{"priority": "high", "year": 2023, "draft": false, "tags": ["a", "b"]}"#)
                .unwrap();
        let filter: Filter = serde_json::from_str(filter).unwrap();
        filter.matches(&metadata, Some(Timestamp::from_millis(0)))
    }

    #[test]
    fn truth_table() {
        for (filter, expected) in [
            (r#"{"eq": {"priority": "high"}}"#, true),
            (r#"{"eq": {"priority": "high", "year": 2022}}"#, false),
            (r#"{"eq": {"year": 2023.0}}"#, true),
            (r#"{"eq": {"year": "2023"}}"#, false),
            (r#"{"eq": {"tags": "a"}}"#, true),
            (r#"{"eq": {"absent": "a"}}"#, false),
            (r#"{"ne": {"priority": "low"}}"#, true),
            (r#"{"ne": {"absent": "a"}}"#, true),
            (r#"{"in": {"year": [2022, 2023]}}"#, true),
            (r#"{"in": {"year": []}}"#, false),
            (r#"{"gt": {"year": 2023}}"#, false),
            (r#"{"gte": {"year": 2023}}"#, true),
            (r#"{"lt": {"priority": "low"}}"#, true),
            (r#"{"lte": {"year": "z"}}"#, false),
            (r#"{"exists": "draft"}"#, true),
            (r#"{"exists": "absent"}"#, false),
            (r#"{"and": []}"#, true),
            (r#"{"or": []}"#, false),
            (r#"{"not": {"eq": {"draft": false}}}"#, false),
        ] {
            assert_eq!(holds(filter), expected, "{filter}");
        }
    }

    #[test]
    fn an_unknown_operator_is_refused() {
        assert!(serde_json::from_str::<Filter>(r#"{"like": {"a": "b"}}"#).is_err());
    }

    #[test]
    fn both_ends_of_a_date_range_match_and_a_missing_date_does_not() {
        let filter = Filter::DateRange(DateRange::parse("2023-01-01", "2023-01-31").unwrap());
        let on = |date: &str| filter.matches(&Metadata::new(), Some(Period::parse(date).unwrap().first));
        assert!(on("2023-01-01T00:00:00Z") && on("2023-01-31T23:59:59.999Z"));
        assert!(!on("2022-12-31T23:59:59.999Z") && !on("2023-02-01T00:00:00Z"));
        assert!(!filter.matches(&Metadata::new(), None));
    }
}
