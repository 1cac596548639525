//! Terms as numbers.

use std::collections::HashMap;
use std::sync::Arc;

/// Gives each term a number; those of forgotten terms are used again.
#[derive(Debug, Default)]
pub(super) struct Terms {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Option<Arc<str>>>,
    free: Vec<u32>,
}

impl Terms {
    pub(super) fn get(&self, term: &str) -> Option<u32> {
        self.numbers.get(term).copied()
    }

    pub(super) fn intern(&mut self, term: &str) -> u32 {
        if let Some(number) = self.get(term) {
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.names.push(None);
            self.names.len() as u32 - 1
        });
        let name: Arc<str> = term.into();
        if let Some(place) = self.names.get_mut(number as usize) {
            *place = Some(Arc::clone(&name));
        }
        self.numbers.insert(name, number);
        number
    }

    pub(super) fn forget(&mut self, number: u32) {
        if let Some(name) = self.names.get_mut(number as usize).and_then(Option::take) {
            self.numbers.remove(&name);
            self.free.push(number);
        }
    }
}
