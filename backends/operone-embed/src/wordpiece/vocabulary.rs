//! The tokens of a WordPiece tokenizer, found by their text.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Tokens that begin a word and tokens that continue one, with their ids.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    begin: Tokens,
    continued: Tokens,
    unknown: u32,
    longest: usize,
}

type Tokens = HashMap<Cow<'static, str>, u32, BuildHasherDefault<Fnv>>;

impl Vocabulary {
    /// The tokens with their ids, those that continue a word marked by `prefix`, and the id that stands for what
    /// is not among them.
    pub(crate) fn new(
        tokens: impl IntoIterator<Item = (Cow<'static, str>, u32)>,
        prefix: &str,
        unknown: u32,
    ) -> Self {
        let (mut begin, mut continued) = (Tokens::default(), Tokens::default());
        let mut longest = 0;
        for (token, id) in tokens {
            longest = longest.max(token.chars().count());
            let rest = match &token {
                Cow::Borrowed(text) => text.strip_prefix(prefix).map(Cow::Borrowed),
                Cow::Owned(text) => text.strip_prefix(prefix).map(|rest| Cow::Owned(rest.to_owned())),
            };
            match rest {
                Some(rest) => continued.insert(rest, id),
                None => begin.insert(token, id),
            };
        }
        Self { begin, continued, unknown, longest }
    }

    /// The id that stands for what is not in the vocabulary.
    pub(crate) fn unknown(&self) -> u32 {
        self.unknown
    }

    /// How many characters the longest token has.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// The id of a token that begins a word.
    pub(crate) fn begin(&self, token: &str) -> Option<u32> {
        self.begin.get(token).copied()
    }

    /// The id of a token that continues a word, given without its mark.
    pub(crate) fn continued(&self, token: &str) -> Option<u32> {
        self.continued.get(token).copied()
    }
}

/// FNV-1a: short keys from a fixed vocabulary need no defence against chosen collisions.
#[derive(Debug)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
