//! Lets hits grow by their neighbours, so that a passage is read with what stands around it.

use operone_core::Result;
use operone_core::chunk::{ChunkKey, ChunkStore, Collection, StoredChunk};
use operone_core::embed::Tokenizer;
use operone_core::retrieve::Hit;

use super::selection::Found;

/// Makes hits of candidates, at most `top_k`, each of at most `budget` tokens unless its chunk alone has more.
///
/// A candidate next to a hit becomes part of it while that fits; then hits grow by their neighbours, in turn by the
/// one after and the one before, as long as they are below the same headings. No chunk is part of two hits, and text that neighbours share is shown once.
pub(super) async fn grown(
    store: &dyn ChunkStore,
    collection: &Collection,
    tokenizer: &dyn Tokenizer,
    found: Vec<Found>,
    top_k: usize,
    budget: usize,
) -> Result<Vec<Hit>> {
    let fits = |chunks: &[StoredChunk]| tokenizer.spans(&text_of(chunks)).len() <= budget;
    let mut passages: Vec<Grown> = Vec::new();
    for candidate in found {
        if passages.len() == top_k {
            break;
        }
        let absorbed = passages.iter_mut().any(|passage| passage.absorb(&candidate.chunk, fits));
        if !absorbed {
            passages.push(Grown::new(candidate));
        }
    }
    join(&mut passages, fits);
    loop {
        let taken: Vec<(ChunkKey, ChunkKey)> = passages
            .iter()
            .filter_map(|passage| Some((passage.first()?.clone(), passage.last()?.clone())))
            .collect();
        let free = |key: &ChunkKey| {
            !taken.iter().any(|(first, last)| {
                first.doc == key.doc && (first.ordinal..=last.ordinal).contains(&key.ordinal)
            })
        };
        let mut wanted: Vec<(usize, ChunkKey)> = Vec::new();
        for (at, passage) in passages.iter().enumerate() {
            wanted.extend(passage.neighbours().into_iter().filter(free).map(|key| (at, key)));
        }
        if wanted.is_empty() {
            break;
        }
        let keys: Vec<ChunkKey> = wanted.iter().map(|(_, key)| key.clone()).collect();
        let chunks = store.chunks(collection, &keys).await?;
        let mut taken: Vec<ChunkKey> = Vec::new();
        for ((at, key), chunk) in wanted.into_iter().zip(chunks) {
            let Some(passage) = passages.get_mut(at) else { continue };
            // Between two hits only one of them gets the chunk.
            let grew = !taken.contains(&key) && chunk.is_some_and(|chunk| passage.absorb(&chunk, fits));
            if grew {
                taken.push(key);
            } else {
                passage.close(&key);
            }
        }
    }
    join(&mut passages, fits);
    Ok(passages.into_iter().filter_map(Grown::into_hit).collect())
}

/// A hit that grows.
struct Grown {
    /// Neighbours in order.
    chunks: Vec<StoredChunk>,
    /// The chunk that was found.
    found: ChunkKey,
    score: f32,
    /// Whether it may still grow to either side.
    open: (bool, bool),
}

impl Grown {
    fn new(found: Found) -> Self {
        Self {
            found: found.chunk.key.clone(),
            chunks: vec![found.chunk],
            score: found.score,
            open: (true, true),
        }
    }

    fn first(&self) -> Option<&ChunkKey> {
        self.chunks.first().map(|chunk| &chunk.key)
    }

    fn last(&self) -> Option<&ChunkKey> {
        self.chunks.last().map(|chunk| &chunk.key)
    }

    /// The chunks right after and right before.
    fn neighbours(&self) -> Vec<ChunkKey> {
        let (Some(first), Some(last)) = (self.first(), self.last()) else { return Vec::new() };
        let key = |ordinal| ChunkKey { doc: first.doc.clone(), ordinal };
        let after = last.ordinal.checked_add(1).filter(|_| self.open.1).map(key);
        let before = first.ordinal.checked_sub(1).filter(|_| self.open.0).map(key);
        after.into_iter().chain(before).collect()
    }

    /// Does not grow any more to the side of `key`.
    fn close(&mut self, key: &ChunkKey) {
        match self.first() {
            Some(first) if key.ordinal < first.ordinal => self.open.0 = false,
            _ => self.open.1 = false,
        }
    }

    /// Takes a chunk in if it is next to it, below the same headings, and fits.
    fn absorb(&mut self, chunk: &StoredChunk, fits: impl Fn(&[StoredChunk]) -> bool) -> bool {
        self.absorb_all(std::slice::from_ref(chunk), fits)
    }

    fn absorb_all(&mut self, chunks: &[StoredChunk], fits: impl Fn(&[StoredChunk]) -> bool) -> bool {
        let (Some(first), Some(last)) = (self.first(), self.last()) else { return false };
        let (Some(begin), Some(end)) = (chunks.first(), chunks.last()) else { return false };
        let heading = self.chunks.first().map(|chunk| &chunk.heading);
        if begin.key.doc != first.doc || chunks.iter().any(|chunk| Some(&chunk.heading) != heading) {
            return false;
        }
        let joined: Vec<StoredChunk> = if last.ordinal.checked_add(1) == Some(begin.key.ordinal) {
            self.chunks.iter().chain(chunks).cloned().collect()
        } else if end.key.ordinal.checked_add(1) == Some(first.ordinal) {
            chunks.iter().chain(&self.chunks).cloned().collect()
        } else {
            return false;
        };
        let whole = fits(&joined);
        if whole {
            self.chunks = joined;
        }
        whole
    }

    fn into_hit(self) -> Option<Hit> {
        let content = text_of(&self.chunks);
        let (first, last) = (self.chunks.first()?.clone(), self.chunks.last()?.end);
        let mut hit = Hit::new(first, self.score);
        hit.content = content;
        hit.source.chunk_id = self.found.chunk_id();
        hit.source.end = last;
        Some(hit)
    }
}

/// Makes one of hits that touch, where it fits; the better one takes the other in.
fn join(passages: &mut Vec<Grown>, fits: impl Fn(&[StoredChunk]) -> bool) {
    let mut at = 0;
    while at + 1 < passages.len() {
        let mut rest = passages.split_off(at + 1);
        let before = rest.len();
        if let Some(passage) = passages.last_mut() {
            rest.retain(|other| !passage.absorb_all(&other.chunks, &fits));
        }
        let joined = rest.len() < before;
        passages.append(&mut rest);
        // What it has become may touch a further one.
        at += usize::from(!joined);
    }
}

/// The text of neighbours, what they share once. White space between two that share nothing is shown as line breaks,
/// as many bytes as there are.
fn text_of(chunks: &[StoredChunk]) -> String {
    let mut text = String::new();
    let mut end = chunks.first().map_or(0, |chunk| chunk.start);
    for chunk in chunks {
        match usize::try_from(end.saturating_sub(chunk.start)) {
            Ok(shared) if shared > 0 => text.push_str(chunk.text.get(shared..).unwrap_or_default()),
            _ => {
                let gap = usize::try_from(chunk.start.saturating_sub(end)).unwrap_or(0);
                text.push_str(&"\n".repeat(gap));
                text.push_str(&chunk.text);
            }
        }
        end = end.max(chunk.end);
    }
    text
}
