//! Where an answer goes on: the state that was searched, the moment, and the last memory shown.

use operone_core::cache::ContentHash;
use operone_core::clock::Timestamp;
use operone_core::memory::{RecallQuery, Revision};
use operone_core::{Error, Result};

use crate::index::Position;

/// Where an answer goes on. As text: `<revision>.<milliseconds>.<millionths>.<place>.<hash of the query>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) revision: Revision,
    pub(crate) asked_at: Timestamp,
    pub(crate) after: Position,
}

impl Cursor {
    pub(crate) fn to_text(self, query: &RecallQuery) -> String {
        let Position { score, place } = self.after;
        format!("{}.{}.{score}.{place}.{}", self.revision.0, self.asked_at.as_millis(), hash(query))
    }

    /// The cursor of a query; `Invalid` with code `invalid_cursor` for text that is none, or one of another query.
    pub(crate) fn of(query: &RecallQuery) -> Result<Option<Self>> {
        let Some(text) = &query.cursor else { return Ok(None) };
        let invalid = || {
            Error::invalid(
                "the cursor is none of this query: pass on what the last answer gave, with the same query",
            )
            .with_code("invalid_cursor")
        };
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or_else(invalid);
        let number = |part: &str| part.parse::<i64>().map_err(|_| invalid());
        let cursor = Self {
            revision: Revision(part()?.parse().map_err(|_| invalid())?),
            asked_at: Timestamp::from_millis(number(part()?)?),
            after: Position { score: number(part()?)?, place: part()?.parse().map_err(|_| invalid())? },
        };
        if part()? != hash(query) {
            return Err(invalid());
        }
        Ok(Some(cursor))
    }
}

/// What of a query decides about the order of its answer.
fn hash(query: &RecallQuery) -> String {
    let RecallQuery { scope, text, filter, min_trust, mode, as_of, include_superseded, recency, .. } = query;
    let decides = format!(
        "{scope:?} {text:?} {filter:?} {min_trust:?} {mode:?} {as_of:?} {include_superseded} {recency:?}"
    );
    ContentHash::of(decides).to_hex().chars().take(16).collect()
}
