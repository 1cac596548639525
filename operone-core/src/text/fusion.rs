//! Bringing scores of different kinds onto one scale.

/// Moves scores onto [0, 1] by their least and greatest: the weight of the best is 1, of the worst 0. Where all
/// are equal each is 1. A score that is not finite counts as the least.
pub fn min_max(scores: &mut [f32]) {
    let finite = || scores.iter().copied().filter(|score| score.is_finite());
    let least = finite().fold(f32::INFINITY, f32::min);
    let span = finite().fold(f32::NEG_INFINITY, f32::max) - least;
    for score in scores {
        *score = match (score.is_finite(), span > 0.0) {
            (false, _) => 0.0,
            (true, true) => (*score - least) / span,
            (true, false) => 1.0,
        };
    }
}

/// Gives a vector the length 1; `None` for one that has no direction (all zeros, or not finite).
pub fn normalize(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if !length.is_finite() || length <= f32::EPSILON {
        return None;
    }
    vector.iter_mut().for_each(|x| *x /= length);
    Some(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_land_between_zero_and_one() {
        let mut scores = [3.0, 1.0, f32::NAN, 2.0];
        min_max(&mut scores);
        assert_eq!(scores, [1.0, 0.0, 0.0, 0.5]);
        let mut equal = [0.2, 0.2];
        min_max(&mut equal);
        assert_eq!(equal, [1.0, 1.0]);
        min_max(&mut []);
    }

    #[test]
    fn a_vector_without_direction_is_none() {
        assert_eq!(normalize(vec![0.0, 0.0]), None);
        assert_eq!(normalize(vec![f32::NAN, 1.0]), None);
        assert_eq!(normalize(vec![3.0, 4.0]), Some(vec![0.6, 0.8]));
    }
}
