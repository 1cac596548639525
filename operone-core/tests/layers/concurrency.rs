//! So many answers at a time.

use futures_util::StreamExt;
use futures_util::future::join_all;
use operone_core::model::layers::ConcurrencyLimit;
use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn no_more_answers_than_the_limit_go_on() {
    let (slow, open) = Slow::new(1, 1);
    let (model, begun) = (ConcurrencyLimit::new(slow, 3), Instant::now());
    let answers = join_all((0..9).map(|_| text(&model))).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap() == "a"));
    assert_eq!(open.most.load(Ordering::SeqCst), 3);
    assert_eq!((begun.elapsed(), open.now()), (Duration::from_secs(6), 0));
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_at_the_end_of_an_answer_though_its_stream_is_kept() {
    let model = ConcurrencyLimit::new(Slow::new(0, 0).0, 1);
    let mut kept = model.stream(ask("hello")).await.unwrap();
    while !matches!(kept.next().await, Some(Ok(ModelEvent::Done(_)))) {}
    assert_eq!(text(&model).await.unwrap(), "a");
    assert!(kept.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_when_an_answer_fails_or_is_dropped() {
    let model = acts(|call| match call {
        0 => Err(gone()),
        1 => answer(vec![part("a"), Err(gone())]),
        _ => Ok(stream::pending().boxed()),
    });
    let model = ConcurrencyLimit::new(model, 1).with_most_waiting(0);
    assert!(text(&model).await.is_err());
    assert!(text(&model).await.is_err());
    let held = model.stream(ask("hello")).await.unwrap();
    assert_eq!(text(&model).await.unwrap_err().code(), "model_busy");
    drop(held);
    drop(model.stream(ask("hello")).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn so_many_wait_and_one_more_is_refused() {
    let model = Arc::new(ConcurrencyLimit::new(Slow::new(1, 1).0, 1).with_most_waiting(2));
    let answers = join_all((0..4).map(|_| text(&*model))).await;
    let (good, bad): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(good.len(), 3);
    let refused = bad[0].as_ref().unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::RateLimited, "model_busy"));
    assert!(refused.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_stops_waiting_gives_its_place_away() {
    let (slow, open) = Slow::new(10, 0);
    let model = Arc::new(ConcurrencyLimit::new(slow, 1).with_most_waiting(1));
    let first = tokio::spawn({
        let model = Arc::clone(&model);
        async move { text(&*model).await }
    });
    tokio::task::yield_now().await;
    assert!(tokio::time::timeout(Duration::from_secs(1), text(&*model)).await.is_err());
    assert_eq!(text(&*model).await.unwrap(), "a", "the place in the queue is free again");
    first.await.unwrap().unwrap();
    assert_eq!(open.all.load(Ordering::SeqCst), 2, "the one that stopped waiting never asked");
}
