//! The conversations of a scope: which memories each has, and how many terms.

use std::collections::HashMap;

#[derive(Debug, Default)]
pub(super) struct Threads {
    numbers: HashMap<String, u32>,
    threads: Vec<Thread>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    first: Option<u32>,
    last: Option<u32>,
    memories: u32,
    terms: u64,
}

impl Threads {
    /// Counts a memory in; its place among the others is set by the index.
    pub(super) fn enter(&mut self, name: &str, length: u32) -> u32 {
        let number = match self.numbers.get(name) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.threads.len()).unwrap_or(u32::MAX);
                self.numbers.insert(name.to_owned(), number);
                self.threads.push(Thread::default());
                number
            }
        };
        if let Some(thread) = self.threads.get_mut(number as usize) {
            thread.memories += 1;
            thread.terms += u64::from(length);
        }
        number
    }

    /// Counts a memory out that stood between two others.
    pub(super) fn leave(
        &mut self,
        number: u32,
        place: u32,
        length: u32,
        (before, after): (Option<u32>, Option<u32>),
    ) {
        if let Some(thread) = self.threads.get_mut(number as usize) {
            thread.memories = thread.memories.saturating_sub(1);
            thread.terms = thread.terms.saturating_sub(u64::from(length));
            if thread.last == Some(place) {
                thread.last = before;
            }
            if thread.first == Some(place) {
                thread.first = after;
            }
        }
    }

    pub(super) fn last(&self, number: u32) -> Option<u32> {
        self.threads.get(number as usize)?.last
    }

    /// A memory stands at the end now, or at the begin.
    pub(super) fn set_ends(&mut self, number: u32, place: u32, is_first: bool, is_last: bool) {
        if let Some(thread) = self.threads.get_mut(number as usize) {
            if is_first {
                thread.first = Some(place);
            }
            if is_last {
                thread.last = Some(place);
            }
        }
    }

    /// The terms that all memories lend to their neighbours, each by these shares to the one after and before it.
    pub(super) fn lent_terms(&self, to_after: f64, to_before: f64, length: impl Fn(u32) -> u32) -> f64 {
        let of = |place: Option<u32>| place.map_or(0, &length);
        let (mut first, mut last, mut all) = (0, 0, 0);
        for thread in &self.threads {
            first += u64::from(of(thread.first));
            last += u64::from(of(thread.last));
            all += thread.terms;
        }
        to_after * (all.saturating_sub(last)) as f64 + to_before * (all.saturating_sub(first)) as f64
    }

    /// How many have memories.
    pub(super) fn count(&self) -> usize {
        self.threads.iter().filter(|thread| thread.memories > 0).count()
    }

    /// The terms of one.
    pub(super) fn terms(&self, number: u32) -> u64 {
        self.threads.get(number as usize).map_or(0, |thread| thread.terms)
    }

    /// The terms of one at the mean; never zero.
    pub(super) fn mean_terms(&self) -> f64 {
        let all: u64 = self.threads.iter().map(|thread| thread.terms).sum();
        (all as f64 / self.count().max(1) as f64).max(1.0)
    }
}
