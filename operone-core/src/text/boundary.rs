//! Cutting text between characters.

/// Returns the last place at or before `at` where `text` can be cut, at most its length.
///
/// The same as `str::floor_char_boundary`, which needs Rust 1.91.
///
/// ```
/// use operone_core::text::floor_char_boundary;
///
/// assert_eq!(floor_char_boundary("né", 2), 1);
/// assert_eq!(floor_char_boundary("né", 9), 3);
/// ```
pub fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}
