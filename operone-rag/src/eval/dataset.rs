//! Reads a judged collection from a folder in the form of BEIR.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use operone_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::metrics::Judgements;

/// Where a folder may keep its judgements.
const JUDGEMENTS: [&str; 2] = ["qrels.tsv", "qrels/test.tsv"];

/// Documents, and queries with the documents that answer them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Dataset {
    /// The documents in the order of the file.
    pub documents: Vec<EvalDocument>,
    /// The queries that have a relevant document, in the order of the file.
    pub queries: Vec<EvalQuery>,
}

/// A document of a judged collection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvalDocument {
    /// Its id in the collection.
    pub id: String,
    /// Its title; empty where it has none.
    pub title: String,
    /// Its text.
    pub text: String,
}

impl EvalDocument {
    /// A document; either text may be empty.
    pub fn new(id: impl Into<String>, title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { id: id.into(), title: title.into(), text: text.into() }
    }
}

/// A query of a judged collection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EvalQuery {
    /// Its id in the collection.
    pub id: String,
    /// What is asked.
    pub text: String,
    /// What answers it.
    pub relevant: Judgements,
}

impl EvalQuery {
    /// A query with the ids and grades of the documents that were judged.
    pub fn new<'a>(
        id: impl Into<String>,
        text: impl Into<String>,
        judged: impl IntoIterator<Item = (&'a str, i64)>,
    ) -> Self {
        let relevant = judged.into_iter().map(|(id, grade)| (id.to_owned(), grade)).collect();
        Self { id: id.into(), text: text.into(), relevant }
    }
}

impl Dataset {
    /// A collection from parts. Queries without a relevant document are left out; documents of one id, or none at
    /// all, and no query that is left are `Invalid` with code `invalid_dataset`.
    pub fn new(documents: Vec<EvalDocument>, queries: Vec<EvalQuery>) -> Result<Self> {
        let mut ids = HashSet::new();
        if let Some(twice) = documents.iter().find(|document| !ids.insert(document.id.as_str())) {
            return Err(invalid(format!("two documents have the id '{}'", twice.id)));
        }
        let queries: Vec<EvalQuery> =
            queries.into_iter().filter(|query| query.relevant.has_relevant()).collect();
        if let Some(blank) = queries.iter().find(|query| query.text.trim().is_empty()) {
            return Err(invalid(format!("the query '{}' has no text", blank.id)));
        }
        if documents.is_empty() || queries.is_empty() {
            let lack = if documents.is_empty() { "document" } else { "query with a relevant document" };
            return Err(invalid(format!("the collection has no {lack}")));
        }
        Ok(Self { documents, queries })
    }

    /// Reads `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and the judgements in `qrels.tsv`
    /// or `qrels/test.tsv`: a query's id, a document's id and a whole number, separated by tabs, below a line of
    /// headings.
    ///
    /// - Other keys and blank lines are passed over; a `title` may be missing or null, an id may be a number.
    /// - Judgements of documents or queries that are not there count as in trec_eval: such a document is one that was
    ///   not found, such a query is not asked.
    /// - A file that cannot be read or a line that is not as it should be is `Invalid` with code `invalid_dataset`,
    ///   and names the file and the line.
    pub fn read(folder: &Path) -> Result<Self> {
        let documents: Vec<EvalDocument> = json_lines(&folder.join("corpus.jsonl"))?
            .into_iter()
            .map(|Line { id, title, text }| {
                EvalDocument::new(id.0, title.unwrap_or_default(), text.unwrap_or_default())
            })
            .collect();
        let (path, mut judged) = judgements(folder)?;
        let queries_path = folder.join("queries.jsonl");
        let queries: Vec<EvalQuery> = json_lines(&queries_path)?
            .into_iter()
            .filter_map(|Line { id, text, .. }| {
                let relevant = judged.remove(&id.0)?;
                Some(EvalQuery { id: id.0, text: text.unwrap_or_default(), relevant })
            })
            .collect();
        if queries.is_empty() {
            return Err(invalid(format!(
                "no query of {} is judged in {}",
                queries_path.display(),
                path.display()
            )));
        }
        Self::new(documents, queries)
    }
}

/// A line of either file.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "_id")]
    id: Id,
    title: Option<String>,
    text: Option<String>,
}

struct Id(String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(id) if !id.is_empty() => Ok(Self(id)),
            serde_json::Value::Number(id) => Ok(Self(id.to_string())),
            other => Err(serde::de::Error::custom(format!("_id is {other}, not a text or a number"))),
        }
    }
}

fn json_lines(path: &Path) -> Result<Vec<Line>> {
    let mut found = Vec::new();
    let mut ids = HashMap::new();
    for (number, line) in numbered_lines(path)? {
        let line: Line = serde_json::from_str(&line).map_err(|error| at(path, number, error))?;
        if let Some(before) = ids.insert(line.id.0.clone(), number) {
            return Err(at(path, number, format!("the id '{}' stands in line {before} already", line.id.0)));
        }
        found.push(line);
    }
    Ok(found)
}

fn judgements(folder: &Path) -> Result<(PathBuf, BTreeMap<String, Judgements>)> {
    let path =
        JUDGEMENTS.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
            invalid(format!("{} has neither {} nor {}", folder.display(), JUDGEMENTS[0], JUDGEMENTS[1]))
        })?;
    let mut judged: BTreeMap<String, Judgements> = BTreeMap::new();
    for (number, line) in numbered_lines(&path)? {
        let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
        let [query, document, grade] = fields.as_slice() else {
            return Err(at(&path, number, format!("{} fields between tabs, not 3", fields.len())));
        };
        let Ok(grade) = grade.parse() else {
            // The first line may be headings.
            if number == 1 {
                continue;
            }
            return Err(at(&path, number, format!("'{grade}' is not a whole number")));
        };
        judged.entry((*query).to_owned()).or_default().insert(*document, grade);
    }
    Ok((path, judged))
}

/// The lines that are not blank, with their numbers from 1.
fn numbered_lines(path: &Path) -> Result<Vec<(usize, String)>> {
    let file = File::open(path).map_err(|error| {
        let detail = format!("{} cannot be read: {error}", path.display());
        Error::new(ErrorKind::Invalid, detail).with_code("invalid_dataset").with_source(error)
    })?;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|error| at(path, number, error))?;
        // Files from elsewhere may begin with a byte order mark.
        let line = line.trim_start_matches('\u{feff}').trim_end_matches('\r');
        if !line.trim().is_empty() {
            lines.push((number, line.to_owned()));
        }
    }
    Ok(lines)
}

fn at(path: &Path, line: usize, what: impl std::fmt::Display) -> Error {
    invalid(format!("{}, line {line}: {what}", path.display()))
}

fn invalid(message: String) -> Error {
    Error::invalid(message).with_code("invalid_dataset")
}
