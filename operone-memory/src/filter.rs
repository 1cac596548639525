//! What a filter sees of a memory: its metadata, and its own fields under their names.

use operone_core::filter::Filter;
use operone_core::memory::{Entry, Trust};
use operone_core::metadata::MetadataValue;

/// The names under which a memory's own fields are seen; no metadata may have them.
pub(crate) const OWN_FIELDS: [&str; 6] = ["tags", "kind", "actor", "thread", "trust", "importance"];

/// What a memory must be to be found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) filter: Option<&'a Filter>,
    pub(crate) min_trust: Option<Trust>,
    pub(crate) include_superseded: bool,
}

impl Wanted<'_> {
    pub(crate) fn holds(&self, entry: &Entry) -> bool {
        (self.include_superseded || entry.superseded_by.is_none())
            && self.min_trust.is_none_or(|least| entry.trust >= least)
            && self.filter.is_none_or(|filter| matches(filter, entry))
    }
}

fn matches(filter: &Filter, entry: &Entry) -> bool {
    let mut seen = entry.metadata.clone();
    let mut add = |name: &str, value: MetadataValue| {
        seen.insert(name.to_owned(), value);
    };
    if !entry.tags.is_empty() {
        add("tags", MetadataValue::List(entry.tags.clone()));
    }
    let texts = [("kind", &entry.kind), ("actor", &entry.actor), ("thread", &entry.thread)];
    for (name, text) in texts {
        if let Some(text) = text {
            add(name, text.as_str().into());
        }
    }
    add("trust", entry.trust.as_str().into());
    add("importance", MetadataValue::Float(entry.importance));
    filter.matches(&seen, Some(entry.occurred_at.unwrap_or(entry.recorded_at)))
}
