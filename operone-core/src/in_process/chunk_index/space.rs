//! What the vectors of a collection have in common, and what a document must keep to.

use crate::chunk::NewDocument;
use crate::error::{Error, Result};

/// Where the vectors of a collection live: one embedder, one dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VectorSpace {
    /// The embedder's id.
    pub embedder: String,
    /// The dimension; `None` until there is a vector.
    pub dimension: Option<usize>,
}

impl VectorSpace {
    /// A space of an embedder.
    pub fn new(embedder: impl Into<String>, dimension: Option<usize>) -> Self {
        Self { embedder: embedder.into(), dimension }
    }

    /// Checks a document that is to be stored in a collection of this space, or in an empty one, and gives the
    /// space that holds afterwards.
    ///
    /// Another embedder or dimension is `Conflict` with code `embedder_mismatch`. Chunks that are not numbered
    /// from 0 without holes are `Invalid` with code `invalid_chunks`, a vector that is empty or has a number
    /// that is not finite with code `invalid_vector`.
    pub fn admit(space: Option<&Self>, document: &NewDocument) -> Result<Self> {
        let mismatch = |message: String| Err(Error::conflict(message).with_code("embedder_mismatch"));
        if let Some(space) = space.filter(|space| space.embedder != document.embedder) {
            return mismatch(format!(
                "the collection was built with the embedder {}, the document with {}",
                space.embedder, document.embedder
            ));
        }
        let mut dimension = space.and_then(|space| space.dimension);
        for (place, chunk) in (0..).zip(&document.chunks) {
            if chunk.ordinal != place {
                let message = format!("chunk {} stands in the place of {place}", chunk.ordinal);
                return Err(Error::invalid(message).with_code("invalid_chunks"));
            }
            let Some(vector) = &chunk.vector else { continue };
            if vector.is_empty() || !vector.iter().all(|number| number.is_finite()) {
                let message =
                    format!("the vector of chunk {place} is empty or has a number that is not finite");
                return Err(Error::invalid(message).with_code("invalid_vector"));
            }
            let expected = *dimension.get_or_insert(vector.len());
            if expected != vector.len() {
                return mismatch(format!(
                    "the collection's vectors have {expected} dimensions, that of chunk {place} has {}",
                    vector.len()
                ));
            }
        }
        Ok(Self::new(document.embedder.as_str(), dimension))
    }
}
