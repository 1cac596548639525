//! Silence has an end.

use futures_util::StreamExt;
use operone_core::model::layers::{Retry, Timeouts};
use tokio::time::Instant;

use super::*;

fn limited(model: Model) -> Timeouts {
    Timeouts::new(model).with_first_event(Duration::from_secs(10)).with_next_event(Duration::from_secs(5))
}

#[tokio::test(start_paused = true)]
async fn a_model_that_never_begins_is_given_up() {
    let (slow, open) = Slow::new(11, 0);
    let begun = Instant::now();
    let error = limited(slow).stream(ask("hello")).await.err().unwrap();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "model_stalled"));
    assert!(error.is_retryable());
    assert_eq!((begun.elapsed(), open.now()), (Duration::from_secs(10), 0));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_falls_silent_is_given_up_and_dropped_first() {
    let (slow, open) = Slow::new(9, 6);
    let mut stream = limited(slow).stream(ask("hello")).await.unwrap();
    stream.next().await.unwrap().unwrap();
    assert_eq!(open.now(), 1);
    assert_eq!(stream.next().await.unwrap().unwrap_err().code(), "model_stalled");
    assert_eq!(open.now(), 0, "the answer below goes on");
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_reader_may_take_its_time() {
    let (slow, _) = Slow::new(9, 4);
    let mut stream = limited(slow).stream(ask("hello")).await.unwrap();
    stream.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(matches!(stream.next().await.unwrap().unwrap(), ModelEvent::Done(_)));
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn no_limit_is_a_limit_too() {
    let (slow, _) = Slow::new(1_000_000, 1_000_000);
    let patient = Timeouts::new(slow).with_first_event(Duration::MAX).with_next_event(Duration::MAX);
    assert_eq!(text(&patient).await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_silent_try_is_followed_by_another() {
    let model = acts(|call| match call {
        0 => Ok(stream::pending().boxed()),
        _ => answer(vec![part("a"), done()]),
    });
    assert_eq!(text(&Retry::new(Arc::new(limited(model)))).await.unwrap(), "a");
}
