//! Answers an equal request with the answer that was given before.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::canonical::{canonical, hash};
use super::watch::{End, Watch, watched};
use crate::cache::ContentHash;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::Result;
use crate::model::{Finish, FinishReason, LanguageModel, ModelEvent, ModelInfo, ModelRequest, ModelStream};

/// What an entry takes besides its events, in bytes: about the size of its keys and of its place.
const ENTRY: usize = 256;

/// A model that remembers: an equal request gets the same answer again, without asking.
///
/// A [`LanguageModel`] asks anew each time, and its answers differ. With this layer they do not, whatever the
/// temperature: that is why nothing caches unless you say so.
///
/// - Equal are requests of the same JSON, to a model of the same provider and name: every message, tool and option
///   counts. The entry's key is a hash; the request itself is not kept.
/// - Only whole answers are kept, those that ended with [`FinishReason::Stop`] or [`FinishReason::ToolCalls`]. What
///   failed, was cut off, refused, too long or dropped is asked again.
/// - The events come again as they came, at once, with the tokens that the answer took; its cost is 0, since nothing
///   is paid for it.
/// - Entries lapse after an hour, or as [`Cache::with_ttl`] says. Where they are more bytes than the limit, the ones
///   go whose last use lies furthest back. An answer that is larger by itself is not kept.
/// - Equal requests that come at the same time are all asked; the last answer stays. Everything is kept in memory and
///   shared by all callers: have one for each tenant whose answers others must not see.
#[derive(Debug)]
pub struct Cache {
    model: Arc<dyn LanguageModel>,
    ttl: Duration,
    clock: Arc<dyn Clock>,
    kept: Arc<Mutex<Kept>>,
}

impl Cache {
    /// Remembers the answers of this model, up to so many bytes.
    pub fn new(model: Arc<dyn LanguageModel>, max_bytes: usize) -> Self {
        let kept = Kept { max_bytes, ..Kept::default() };
        Self {
            model,
            ttl: Duration::from_secs(3600),
            clock: Arc::new(SystemClock),
            kept: Arc::new(Mutex::new(kept)),
        }
    }

    /// Sets how long an answer holds.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the clock by which answers lapse.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a layer forwards what it does not change")]
impl LanguageModel for Cache {
    fn info(&self) -> ModelInfo {
        self.model.info()
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let info = self.info();
        let key = hash(&canonical(&(info.provider, info.name, &request))?);
        let now = self.clock.now();
        if let Some(events) = lock(&self.kept).get(&key, now) {
            tracing::debug!("an answer is given again");
            return Ok(stream::iter(events).map(Ok).boxed());
        }
        let collected = Collected {
            kept: Arc::clone(&self.kept),
            key,
            lapses: now.plus(self.ttl),
            events: Vec::new(),
            bytes: ENTRY,
            most: lock(&self.kept).max_bytes,
        };
        watched(self.model.stream(request), collected).await
    }
}

/// The events of an answer that goes by.
struct Collected {
    kept: Arc<Mutex<Kept>>,
    key: ContentHash,
    lapses: Timestamp,
    events: Vec<ModelEvent>,
    bytes: usize,
    most: usize,
}

impl Collected {
    fn push(&mut self, event: ModelEvent) {
        self.bytes = self.bytes.saturating_add(size(&event));
        if self.bytes > self.most {
            // It is not kept whatever follows.
            self.events = Vec::new();
        } else {
            self.events.push(event);
        }
    }
}

impl Watch for Collected {
    fn part(&mut self, part: &ModelEvent) {
        self.push(part.clone());
    }

    fn end(mut self, end: End<'_>) -> Result<()> {
        let End::Done(Finish { reason, usage }) = end else { return Ok(()) };
        if matches!(reason, FinishReason::Stop | FinishReason::ToolCalls) {
            let mut usage = *usage;
            usage.cost_micros = 0;
            self.push(ModelEvent::Done(Finish::new(*reason, usage)));
            let entry = Entry { events: self.events, bytes: self.bytes, lapses: self.lapses, used: 0 };
            lock(&self.kept).put(self.key, entry);
        }
        Ok(())
    }
}

fn size(event: &ModelEvent) -> usize {
    let content = match event {
        ModelEvent::Text(text) => text.len(),
        ModelEvent::Reasoning(piece) => piece.text.len() + piece.signature.as_ref().map_or(0, String::len),
        ModelEvent::Call(call) => call.id.len() + call.name.len() + call.arguments.len(),
        ModelEvent::Done(_) => 0,
    };
    content + size_of::<ModelEvent>()
}

/// What is kept. Never held across an await.
#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<ContentHash, Entry>,
    /// The entries by their last use, the oldest first.
    order: BTreeMap<u64, ContentHash>,
    uses: u64,
    bytes: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    events: Vec<ModelEvent>,
    bytes: usize,
    lapses: Timestamp,
    used: u64,
}

impl Kept {
    fn get(&mut self, key: &ContentHash, now: Timestamp) -> Option<Vec<ModelEvent>> {
        let entry = self.remove(key).filter(|entry| entry.lapses > now)?;
        let events = entry.events.clone();
        self.put(*key, entry);
        Some(events)
    }

    fn put(&mut self, key: ContentHash, mut entry: Entry) {
        self.remove(&key);
        if entry.bytes > self.max_bytes {
            return;
        }
        self.uses += 1;
        entry.used = self.uses;
        self.bytes += entry.bytes;
        self.order.insert(entry.used, key);
        self.entries.insert(key, entry);
        while self.bytes > self.max_bytes
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &ContentHash) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.used);
        self.bytes -= entry.bytes;
        Some(entry)
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
