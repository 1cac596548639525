//! The promises about keys under which clients repeat requests.

use std::sync::Arc;

use serde_json::json;

use super::{assert_refused, number};
use crate::cache::ContentHash;
use crate::error::ErrorKind;
use crate::id::TenantId;
use crate::journal::{Journal, Reservation, Reserve};

fn reserve(request: &str, seed: usize) -> Reserve {
    Reserve::new("key", ContentHash::of(request), number(seed))
}

fn held(seed: usize) -> Reservation {
    Reservation::Held { seed: number(seed) }
}

/// A request holds its key while it is being done, and is answered from then on.
pub(super) async fn a_repeated_request_gets_the_first_answer(journal: Arc<dyn Journal>) {
    let tenant = TenantId::local();
    assert_eq!(journal.reserve(&tenant, reserve("a", 1)).await.unwrap(), held(1));
    let again = journal.reserve(&tenant, reserve("a", 2)).await;
    assert_refused(again, ErrorKind::Conflict, "idempotency_key_in_use");
    journal.settle(&tenant, "key", Some(json!({"status": 201}))).await.unwrap();
    let answered = journal.reserve(&tenant, reserve("a", 3)).await.unwrap();
    assert_eq!(answered, Reservation::Answered(json!({"status": 201})));
}

/// A request that was given up is done again with the ids of its first try.
pub(super) async fn a_request_given_up_is_done_again_with_the_same_seed(journal: Arc<dyn Journal>) {
    let tenant = TenantId::local();
    journal.reserve(&tenant, reserve("a", 1)).await.unwrap();
    journal.settle(&tenant, "key", None).await.unwrap();
    assert_eq!(journal.reserve(&tenant, reserve("a", 2)).await.unwrap(), held(1));
}

/// A key belongs to one request of one tenant.
pub(super) async fn a_key_belongs_to_one_request_of_one_tenant(journal: Arc<dyn Journal>) {
    let (tenant, other) = (TenantId::local(), TenantId::new("other").unwrap());
    journal.reserve(&tenant, reserve("a", 1)).await.unwrap();
    let reused = journal.reserve(&tenant, reserve("b", 2)).await;
    assert_refused(reused, ErrorKind::Invalid, "idempotency_key_reused");
    assert_eq!(journal.reserve(&other, reserve("b", 2)).await.unwrap(), held(2));
    journal.settle(&other, "key", Some(json!(1))).await.unwrap();
    let still = journal.reserve(&tenant, reserve("a", 3)).await;
    assert_refused(still, ErrorKind::Conflict, "idempotency_key_in_use");
}

/// Of concurrent requests under one key one is done.
pub(super) async fn one_of_concurrent_requests_is_done(journal: Arc<dyn Journal>) {
    let mut tries = tokio::task::JoinSet::new();
    for seed in 0..16 {
        let journal = Arc::clone(&journal);
        tries.spawn(async move { journal.reserve(&TenantId::local(), reserve("a", seed)).await.is_ok() });
    }
    let done = tries.join_all().await.into_iter().filter(|done| *done).count();
    assert_eq!(done, 1);
}
