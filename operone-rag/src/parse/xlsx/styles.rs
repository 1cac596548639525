//! What the styles of a workbook's cells make of their numbers.

use std::collections::HashMap;

use operone_core::Result;

use super::super::xml::{Met, attribute, walk};
use super::number::{Shape, built_in, shape, show};

/// The styles of cells by their index.
#[derive(Debug, Default)]
pub(super) struct Styles {
    shapes: Vec<Shape>,
    from_1904: bool,
}

impl Styles {
    pub(super) fn read(xml: &str, from_1904: bool) -> Result<Self> {
        let mut formats: HashMap<u32, Shape> = HashMap::new();
        let mut shapes = Vec::new();
        let mut in_cells = false;
        walk(xml, |met| match met {
            Met::Start("numFmt", element) => {
                let id = attribute(element, "numFmtId").and_then(|id| id.parse().ok());
                formats.extend(id.zip(attribute(element, "formatCode").map(|code| shape(&code))));
            }
            Met::Start("cellXfs", _) => in_cells = true,
            Met::End("cellXfs") => in_cells = false,
            Met::Start("xf", element) if in_cells => {
                let id = attribute(element, "numFmtId").and_then(|id| id.parse().ok()).unwrap_or_default();
                shapes.push(formats.get(&id).copied().unwrap_or_else(|| built_in(id)));
            }
            _ => {}
        })?;
        Ok(Self { shapes, from_1904 })
    }

    /// A number in this style as text.
    pub(super) fn show(&self, text: &str, style: usize) -> String {
        show(text, self.shapes.get(style).copied().unwrap_or_default(), self.from_1904)
    }
}
