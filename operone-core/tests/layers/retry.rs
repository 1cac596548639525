//! Retries: what is tried again, when, and how often.

use std::time::Duration;

use operone_core::backoff::Backoff;
use operone_core::model::layers::Retry;
use operone_core::{Error, ErrorKind};
use tokio::time::Instant;

use super::*;

fn backoff() -> Backoff {
    Backoff::default().with_delay(Duration::from_secs(1)).with_jitter(0.0)
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_after_longer_and_longer_waits() {
    let model = acts(|call| if call < 2 { Err(gone()) } else { answer(vec![part("a"), done()]) });
    let (retry, begun) = (Retry::new(shared(&model)).with_backoff(backoff()), Instant::now());
    assert_eq!(text(&retry).await.unwrap(), "a");
    assert_eq!((model.calls(), begun.elapsed()), (3, Duration::from_secs(3)));
}

#[tokio::test(start_paused = true)]
async fn the_last_error_is_given_after_the_last_try() {
    let model = acts(|call| Err(gone().with_code(format!("try_{call}"))));
    let retry = Retry::new(shared(&model)).with_backoff(backoff().with_tries(4));
    assert_eq!(text(&retry).await.unwrap_err().code(), "try_3");
    assert_eq!(model.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_stays_wrong_is_not_tried_again() {
    let model = acts(|_| Err(Error::invalid("wrong")));
    let begun = Instant::now();
    assert_eq!(text(&Retry::new(shared(&model))).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!((model.calls(), begun.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_fails_or_ends_before_its_first_event_is_tried_again() {
    let model = acts(|call| match call {
        0 => answer(vec![Err(gone())]),
        1 => answer(Vec::new()),
        _ => answer(vec![part("a"), done()]),
    });
    assert_eq!(text(&Retry::new(shared(&model))).await.unwrap(), "a");
    assert_eq!(model.calls(), 3);
    let never = acts(|_| answer(Vec::new()));
    let error = text(&Retry::new(never)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "model_cut_off"));
}

#[tokio::test(start_paused = true)]
async fn after_the_first_event_errors_are_passed_on() {
    let model = acts(|_| answer(vec![part("a"), Err(gone())]));
    let events = events(&Retry::new(shared(&model)), ask("hello")).await;
    assert_eq!(events[0].as_ref().unwrap(), &ModelEvent::Text("a".into()));
    assert_eq!(events[1].as_ref().unwrap_err().code(), "model_unavailable");
    assert_eq!(model.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_asked_for_is_heeded_up_to_a_limit() {
    let asks = |seconds| {
        acts(move |call| match call {
            0 => Err(gone().with_retry_after(Duration::from_secs(seconds))),
            _ => answer(vec![part("a"), done()]),
        })
    };
    let begun = Instant::now();
    text(&Retry::new(asks(30))).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(30));
    let longer = asks(31);
    assert!(text(&Retry::new(shared(&longer))).await.is_err());
    assert_eq!((longer.calls(), begun.elapsed()), (1, Duration::from_secs(30)));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_multiplied_by_the_tries() {
    let model = acts(|_| Err(gone()));
    let retry = Retry::new(shared(&model)).with_budget(5);
    for _ in 0..100 {
        assert!(text(&retry).await.is_err());
    }
    assert_eq!(model.calls(), 105);
    let none = acts(|_| Err(gone()));
    assert!(text(&Retry::new(shared(&none)).with_budget(0)).await.is_err());
    assert_eq!(none.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn answers_earn_retries() {
    // One failure uses up the budget; ten answers at the first try earn one retry, and it gives itself back.
    let model = acts(|call| match call {
        0 | 1 | 12 | 14 => Err(gone()),
        _ => answer(vec![part("a"), done()]),
    });
    let retry = Retry::new(shared(&model)).with_budget(1).with_backoff(backoff().with_tries(2));
    assert!(text(&retry).await.is_err());
    for _ in 0..10 {
        text(&retry).await.unwrap();
    }
    assert_eq!(model.calls(), 12);
    text(&retry).await.unwrap();
    text(&retry).await.unwrap();
    assert_eq!(model.calls(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_not_tried_again() {
    let model = acts(|_| Err(gone()));
    let retry = Retry::new(shared(&model));
    assert!(tokio::time::timeout(Duration::from_millis(100), text(&retry)).await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(model.calls(), 1);
}
