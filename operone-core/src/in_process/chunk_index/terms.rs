//! Terms as numbers.

use std::collections::HashMap;

/// Gives each term a number; those of forgotten terms are used again.
///
/// Nearly all terms are short and lie in the table itself, so that a look-up costs one place in memory.
#[derive(Debug, Default)]
pub(super) struct Terms {
    short: HashMap<Short, u32>,
    long: HashMap<Box<str>, u32>,
    names: Vec<Option<Name>>,
    /// Numbers to be given again; none where somebody else gives them.
    free: Vec<u32>,
    given_elsewhere: bool,
}

/// At most 15 bytes, filled up with zeros, and their number.
type Short = u128;

#[derive(Debug)]
enum Name {
    Short(Short),
    Long(Box<str>),
}

impl Terms {
    pub(super) fn get(&self, term: &str) -> Option<u32> {
        match short(term) {
            Some(short) => self.short.get(&short).copied(),
            None => self.long.get(term).copied(),
        }
    }

    /// The number of a term, a new one where it has none.
    pub(super) fn intern(&mut self, term: &str) -> u32 {
        if let Some(number) = self.get(term) {
            return number;
        }
        let number = self.free.pop().unwrap_or(self.names.len() as u32);
        self.name(number, term);
        number
    }

    /// Takes over the number that somebody else gave to a term.
    pub(super) fn learn(&mut self, number: u32, term: &str) {
        self.given_elsewhere = true;
        if self.get(term).is_none() {
            self.name(number, term);
        }
    }

    pub(super) fn forget(&mut self, number: u32) {
        let Some(name) = self.names.get_mut(number as usize).and_then(Option::take) else { return };
        match name {
            Name::Short(short) => self.short.remove(&short),
            Name::Long(long) => self.long.remove(&long),
        };
        if !self.given_elsewhere {
            self.free.push(number);
        }
    }

    fn name(&mut self, number: u32, term: &str) {
        let name = match short(term) {
            Some(short) => {
                self.short.insert(short, number);
                Name::Short(short)
            }
            None => {
                self.long.insert(term.into(), number);
                Name::Long(term.into())
            }
        };
        let place = number as usize;
        if self.names.len() <= place {
            self.names.resize_with(place + 1, || None);
        }
        if let Some(place) = self.names.get_mut(place) {
            *place = Some(name);
        }
    }
}

fn short(term: &str) -> Option<Short> {
    let mut bytes = [0; 16];
    let (length, text) = bytes.split_first_mut()?;
    text.get_mut(..term.len())?.copy_from_slice(term.as_bytes());
    *length = term.len() as u8;
    Some(Short::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_term_has_its_number_until_it_is_forgotten() {
        let mut terms = Terms::default();
        let names = ["", "\0", "a", "a\0", "fifteen bytes..", "sixteen bytes...", "sixteen bytes..,"];
        let numbers: Vec<u32> = names.iter().map(|name| terms.intern(name)).collect();
        assert_eq!(numbers, (0..7).collect::<Vec<_>>());
        for (name, number) in names.iter().zip(&numbers) {
            assert_eq!((terms.intern(name), terms.get(name)), (*number, Some(*number)));
        }
        terms.forget(5);
        terms.forget(2);
        assert_eq!((terms.get("a"), terms.get("sixteen bytes...")), (None, None));
        assert_eq!((terms.intern("another long term"), terms.intern("b")), (2, 5));
        assert_eq!(terms.get("sixteen bytes..,"), Some(6));
    }
}
