//! Terms as numbers.

use std::collections::HashMap;

/// Gives each term a number, dense from 0 and for ever: for stores that do not keep such numbers themselves.
///
/// Nearly all terms are short and lie in the table itself, so that a look-up costs one place in memory.
#[derive(Debug, Default)]
pub struct Terms {
    short: HashMap<u128, u32>,
    long: HashMap<Box<str>, u32>,
}

impl Terms {
    /// The number of a term, if it has one.
    pub fn get(&self, term: &str) -> Option<u32> {
        match short(term) {
            Some(short) => self.short.get(&short).copied(),
            None => self.long.get(term).copied(),
        }
    }

    /// The number of a term, a new one where it has none.
    pub fn number(&mut self, term: &str) -> u32 {
        let next = (self.short.len() + self.long.len()) as u32;
        match short(term) {
            Some(short) => *self.short.entry(short).or_insert(next),
            None => match self.long.get(term) {
                Some(number) => *number,
                None => *self.long.entry(term.into()).or_insert(next),
            },
        }
    }
}

/// At most 15 bytes, filled up with zeros, and their number.
fn short(term: &str) -> Option<u128> {
    let mut bytes = [0; 16];
    let (length, text) = bytes.split_first_mut()?;
    text.get_mut(..term.len())?.copy_from_slice(term.as_bytes());
    *length = term.len() as u8;
    Some(u128::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_term_has_its_number() {
        let mut terms = Terms::default();
        let names = ["", "\0", "a", "a\0", "fifteen bytes..", "sixteen bytes...", "sixteen bytes..,"];
        let numbers: Vec<u32> = names.iter().map(|name| terms.number(name)).collect();
        assert_eq!(numbers, (0..7).collect::<Vec<_>>());
        for (name, number) in names.iter().zip(&numbers) {
            assert_eq!((terms.number(name), terms.get(name)), (*number, Some(*number)));
        }
        assert_eq!((terms.get("b"), terms.get("another long term")), (None, None));
    }
}
