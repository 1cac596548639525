//! What Office documents share: the parts that a part points to, and the document's properties.

use std::collections::HashMap;

use operone_core::Result;
use operone_core::clock::Period;

use super::assemble::Assembly;
use super::encoding::decode_xml;
use super::xml::{Met, attribute, walk};
use super::zip_archive::Archive;

/// A part that another points to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The last word of the relationship's type, for instance `worksheet`.
    pub(super) kind: String,
    /// The entry's name in the archive.
    pub(super) entry: String,
}

/// The parts that `part` points to, by the relationship's id. What lies outside the archive is left out.
pub(super) fn targets(archive: &mut Archive<'_>, part: &str) -> Result<HashMap<String, Target>> {
    let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
    let relationships = format!("{folder}/_rels/{name}.rels");
    let Some(xml) = archive.read(relationships.trim_start_matches('/'))? else { return Ok(HashMap::new()) };
    let mut targets = HashMap::new();
    walk(&decode_xml(xml), |met| {
        let Met::Start("Relationship", element) = met else { return };
        let get = |name: &str| attribute(element, name).unwrap_or_default();
        if get("TargetMode") != "External" {
            let kind = get("Type").rsplit('/').next().unwrap_or_default().to_owned();
            targets.insert(get("Id"), Target { kind, entry: resolve(folder, &get("Target")) });
        }
    })?;
    Ok(targets)
}

/// The entry that `target` names when it stands in a part of `folder`.
pub(super) fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => folder.split('/').collect(),
    };
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

/// Takes title and date from the properties of a document.
pub(super) fn set_properties(archive: &mut Archive<'_>, entry: &str, assembly: &mut Assembly) -> Result<()> {
    let Some(xml) = archive.read(entry)? else { return Ok(()) };
    let mut properties: HashMap<String, String> = HashMap::new();
    let mut open = String::new();
    walk(&decode_xml(xml), |met| match met {
        Met::Start(name, _) => open = name.to_owned(),
        Met::Text(text) => properties.entry(open.clone()).or_default().push_str(text.trim()),
        Met::End(_) => open.clear(),
    })?;
    let property = |name: &str| properties.get(name).map(String::as_str).filter(|value| !value.is_empty());
    assembly.set_title(property("title"));
    let date = ["modified", "date", "created", "creation-date"].into_iter().find_map(property);
    assembly.set_date(date.and_then(|date| Period::parse(date).ok()).map(|period| period.first));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_entries() {
        assert_eq!(resolve("ppt/slides", "../notesSlides/n1.xml"), "ppt/notesSlides/n1.xml");
        assert_eq!(resolve("xl", "worksheets/sheet1.xml"), "xl/worksheets/sheet1.xml");
        assert_eq!(resolve("xl", "/xl/styles.xml"), "xl/styles.xml");
        assert_eq!(resolve("", "../../../etc/passwd"), "etc/passwd");
    }
}
