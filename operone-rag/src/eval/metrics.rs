//! The measures of ranked retrieval, as trec_eval and BEIR count them.

use std::collections::HashMap;

/// The judged documents of one query with their grades; a grade above zero is relevant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgements(HashMap<String, i64>);

impl Judgements {
    /// Adds a document, or changes its grade.
    pub fn insert(&mut self, document: impl Into<String>, grade: i64) {
        self.0.insert(document.into(), grade);
    }

    /// Whether any document is relevant.
    pub fn has_relevant(&self) -> bool {
        self.0.values().any(|grade| *grade > 0)
    }

    fn grade(&self, document: &str) -> i64 {
        self.0.get(document).copied().unwrap_or(0).max(0)
    }

    fn relevant(&self) -> usize {
        self.0.values().filter(|grade| **grade > 0).count()
    }
}

impl FromIterator<(String, i64)> for Judgements {
    fn from_iter<I: IntoIterator<Item = (String, i64)>>(judged: I) -> Self {
        Self(judged.into_iter().collect())
    }
}

/// Documents in the order in which they were found, the best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranking(Vec<String>);

impl Ranking {
    /// The documents by falling score, of equal scores the greater id first, as trec_eval orders them. A document
    /// that was found more than once counts by its best score.
    pub fn new(found: impl IntoIterator<Item = (String, f32)>) -> Self {
        let mut best: HashMap<String, f32> = HashMap::new();
        for (document, score) in found {
            let kept = best.entry(document).or_insert(score);
            *kept = kept.max(score);
        }
        let mut documents: Vec<(String, f32)> = best.into_iter().collect();
        documents.sort_by(|(one, score), (other, other_score)| {
            other_score.total_cmp(score).then_with(|| other.cmp(one))
        });
        Self(documents.into_iter().map(|(document, _)| document).collect())
    }

    /// Normalised discounted cumulative gain of the first `depth`: the gain of a document is its grade, the discount
    /// at rank r is log2(r + 1), the ideal is that of all judged documents.
    pub fn ndcg(&self, judged: &Judgements, depth: usize) -> f64 {
        let discounted = |grades: &mut dyn Iterator<Item = i64>| -> f64 {
            grades.take(depth).zip(2_u32..).map(|(grade, rank)| grade as f64 / f64::from(rank).log2()).sum()
        };
        let mut ideal: Vec<i64> = judged.0.values().copied().filter(|grade| *grade > 0).collect();
        ideal.sort_unstable_by(|one, other| other.cmp(one));
        let ideal = discounted(&mut ideal.into_iter());
        let gained = discounted(&mut self.0.iter().map(|document| judged.grade(document)));
        if ideal > 0.0 { gained / ideal } else { 0.0 }
    }

    /// The share of the relevant documents that are among the first `depth`.
    pub fn recall(&self, judged: &Judgements, depth: usize) -> f64 {
        let found = self.0.iter().take(depth).filter(|document| judged.grade(document) > 0).count();
        found as f64 / judged.relevant().max(1) as f64
    }

    /// One by the rank of the first relevant document; zero if none was found.
    pub fn reciprocal_rank(&self, judged: &Judgements) -> f64 {
        let place = self.0.iter().position(|document| judged.grade(document) > 0);
        place.map_or(0.0, |place| 1.0 / (place + 1) as f64)
    }
}

/// The value below or at which the part `share` of the values lies (nearest rank); zero of no values.
pub(super) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(grades: &[(&str, i64)]) -> Judgements {
        grades.iter().map(|(id, grade)| ((*id).to_owned(), *grade)).collect()
    }

    fn ranking(ids: &[&str]) -> Ranking {
        Ranking(ids.iter().map(|id| (*id).to_owned()).collect())
    }

    fn near(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-12, "{one} is not {other}");
    }

    #[test]
    fn gains_are_linear_and_discounted_by_the_logarithm() {
        let judged = judged(&[("a", 3), ("b", 2), ("c", 1), ("d", 0), ("e", -1)]);
        // 2/log2(2) + 0 + 3/log2(4) = 3.5 of 3 + 2/log2(3) + 1/2.
        let log3 = 3_f64.log2();
        near(ranking(&["b", "x", "a"]).ndcg(&judged, 10), 3.5 / (3.5 + 2.0 / log3));
        near(ranking(&["b", "x", "a"]).ndcg(&judged, 1), 2.0 / 3.0);
        near(ranking(&["a", "b", "c"]).ndcg(&judged, 10), 1.0);
        // A grade below zero gains nothing and costs nothing.
        near(ranking(&["e", "a", "b", "c"]).ndcg(&judged, 2), (3.0 / log3) / (3.0 + 2.0 / log3));
        near(ranking(&[]).ndcg(&judged, 10), 0.0);
    }

    #[test]
    fn the_ideal_is_cut_at_the_depth_too() {
        let many: Judgements = (0..20).map(|id| (id.to_string(), 1)).collect();
        let first: Vec<String> = (0..10).map(|id| id.to_string()).collect();
        near(Ranking(first).ndcg(&many, 10), 1.0);
    }

    #[test]
    fn recall_and_the_first_relevant_one() {
        let judged = judged(&[("a", 1), ("b", 2), ("c", 1), ("d", 0)]);
        let found = ranking(&["d", "x", "b", "a"]);
        near(found.recall(&judged, 10), 2.0 / 3.0);
        near(found.recall(&judged, 3), 1.0 / 3.0);
        near(found.reciprocal_rank(&judged), 1.0 / 3.0);
        near(ranking(&["x"]).reciprocal_rank(&judged), 0.0);
    }

    #[test]
    fn equal_scores_are_in_falling_order_of_ids_and_the_best_of_a_document_counts() {
        let found = [("b", 0.5), ("c", 0.5), ("a", 0.1), ("a", 0.9), ("10", 0.5), ("9", 0.5)];
        let ranking_of_found = Ranking::new(found.map(|(id, score)| (id.to_owned(), score)));
        assert_eq!(ranking_of_found, ranking(&["a", "c", "b", "9", "10"]));
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        near(percentile(&mut values, 0.5), 100.0);
        near(percentile(&mut values, 0.99), 198.0);
        near(percentile(&mut [7.0], 0.99), 7.0);
        near(percentile(&mut [], 0.5), 0.0);
    }
}
