//! BM25, the weighting of words by how rare they are and how often they occur.

/// The weighting of Robertson and Zaragoza (The Probabilistic Relevance Framework, 2009) with Lucene's
/// never-negative inverse document frequency, ln(1 + (N − n + ½) / (n + ½)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bm25 {
    /// How soon repetition of a term stops to count; 1.2 for documents.
    pub k1: f32,
    /// How far long texts are held back, in [0, 1]; 0.75 for documents.
    pub b: f32,
}

impl Default for Bm25 {
    fn default() -> Self {
        Self { k1: 1.2, b: 0.75 }
    }
}

impl Bm25 {
    /// How much a term tells that occurs in `containing` of `total` texts.
    pub fn inverse_document_frequency(total: usize, containing: usize) -> f32 {
        let (total, containing) = (total as f32, containing as f32);
        (1.0 + (total - containing + 0.5) / (containing + 0.5)).ln()
    }

    /// The part that one term adds to a text's score, before its inverse document frequency: `count` times
    /// in a text of `length` terms where the mean is `mean_length`.
    pub fn term_weight(&self, count: f32, length: f32, mean_length: f32) -> f32 {
        let relative = if mean_length > 0.0 { length / mean_length } else { 1.0 };
        count * (self.k1 + 1.0) / (count + self.k1 * (1.0 - self.b + self.b * relative))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_in_every_text_still_counts() {
        assert!(Bm25::inverse_document_frequency(3, 3) > 0.0);
        assert!(Bm25::inverse_document_frequency(3, 1) > Bm25::inverse_document_frequency(3, 2));
    }

    #[test]
    fn repetition_saturates_and_length_holds_back() {
        let bm25 = Bm25::default();
        let (once, twice, thrice) = (
            bm25.term_weight(1.0, 10.0, 10.0),
            bm25.term_weight(2.0, 10.0, 10.0),
            bm25.term_weight(3.0, 10.0, 10.0),
        );
        assert!(twice > once && thrice - twice < twice - once);
        assert!(bm25.term_weight(1.0, 20.0, 10.0) < once);
    }
}
