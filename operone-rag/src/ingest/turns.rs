//! Takes care that one document is worked on by one at a time, within this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use operone_core::id::DocId;
use tokio::sync::OwnedMutexGuard;

/// The documents that are worked on.
#[derive(Debug, Default)]
pub(super) struct Turns {
    // Held for single look-ups only.
    taken: Mutex<HashMap<DocId, Weak<tokio::sync::Mutex<()>>>>,
}

/// Keeps others off a document until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "only its end matters")] OwnedMutexGuard<()>);

impl Turns {
    /// Waits until nobody else has the document; those who wait come in their order.
    pub(super) async fn take(&self, id: &DocId) -> Turn {
        let lock = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            match taken.get(id).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    if taken.len() >= SWEEP {
                        taken.retain(|_, lock| lock.strong_count() > 0);
                    }
                    let lock = Arc::new(tokio::sync::Mutex::new(()));
                    taken.insert(id.clone(), Arc::downgrade(&lock));
                    lock
                }
            }
        };
        Turn(lock.lock_owned().await)
    }
}

/// So many documents may be known before those that nobody works on are forgotten.
const SWEEP: usize = 1024;
