//! So many requests and tokens in a time.

use futures_util::future::{join, join_all};
use operone_core::model::layers::{RateLimit, Retry};
use tokio::time::{Instant, timeout};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn says() -> Model {
    acts(|_| answer(vec![part("a"), done()]))
}

/// When each of so many callers, who come together, has its answer; in the order in which they came.
async fn times(model: &RateLimit, callers: usize) -> Vec<f64> {
    let begun = Instant::now();
    let call = |_| async {
        text(model).await.unwrap();
        (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0
    };
    join_all((0..callers).map(call)).await
}

#[tokio::test(start_paused = true)]
async fn requests_go_out_at_a_steady_pace_and_in_order() {
    let model = RateLimit::new(says(), 60, Duration::from_secs(60));
    assert_eq!(times(&model, 4).await, [0.0, 1.0, 2.0, 3.0]);
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(times(&model, 2).await, [0.0, 1.0], "a rest saves up no more than the burst");
}

#[tokio::test(start_paused = true)]
async fn nobody_who_comes_later_is_served_before() {
    let (model, served) = (RateLimit::new(says(), 1, SECOND), std::sync::Mutex::new(Vec::new()));
    text(&model).await.unwrap();
    let late = async {
        // Comes just when the one who waits may go, and is polled first.
        tokio::time::sleep(SECOND).await;
        text(&model).await.unwrap();
        served.lock().unwrap().push("late");
    };
    let early = async {
        text(&model).await.unwrap();
        served.lock().unwrap().push("early");
    };
    join(late, early).await;
    assert_eq!(*served.lock().unwrap(), ["early", "late"]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_goes_at_once() {
    let model = RateLimit::new(says(), 2, SECOND).with_burst(3);
    assert_eq!(times(&model, 6).await, [0.0, 0.0, 0.0, 0.5, 1.0, 1.5]);
}

#[tokio::test(start_paused = true)]
async fn in_any_interval_there_are_no_more_than_the_limit_and_the_burst() {
    let (per, burst) = (7, 4);
    let model = RateLimit::new(says(), per, SECOND).with_burst(burst);
    let times = times(&model, 60).await;
    for begin in &times {
        let within = times.iter().filter(|time| (*begin..begin + 1.0).contains(*time)).count();
        assert!(within <= (per + burst) as usize, "{within} from {begin} on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_stops_waiting_is_not_counted() {
    let (asked, begun) = (acts(|_| answer(vec![part("a"), done()])), Instant::now());
    let model = RateLimit::new(shared(&asked), 1, SECOND);
    text(&model).await.unwrap();
    let leaves = timeout(SECOND / 2, text(&model));
    let (left, stayed) = join(leaves, text(&model)).await;
    assert!(left.is_err() && stayed.is_ok());
    assert_eq!((begun.elapsed().as_secs(), asked.calls()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_is_refused_at_once_with_the_time_to_come_back() {
    let model = RateLimit::new(says(), 1, SECOND).with_max_wait(2 * SECOND);
    let begun = Instant::now();
    let call = |_| async { (text(&model).await, begun.elapsed()) };
    let mut answers = join_all((0..4).map(call)).await;
    let (refused, after) = answers.pop().unwrap();
    assert!(answers.iter().all(|(answer, _)| answer.is_ok()));
    let refused = refused.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::RateLimited, "model_rate_limited"));
    assert_eq!((refused.retry_after().unwrap().as_secs_f64().round(), after), (3.0, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_retry_around_it_comes_back_in_time() {
    let model = RateLimit::new(says(), 1, SECOND).with_max_wait(Duration::ZERO);
    let model = Retry::new(Arc::new(model));
    let begun = Instant::now();
    text(&model).await.unwrap();
    text(&model).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_charged_at_the_end_and_paid_off_by_time() {
    // Five tokens an answer, ten in ten seconds.
    let model = RateLimit::new(says(), 1000, SECOND).with_burst(1000).with_tokens(10, 10 * SECOND);
    let begun = Instant::now();
    for waited in [0, 0, 1, 6, 11] {
        text(&model).await.unwrap();
        assert_eq!(begun.elapsed().as_secs_f64().round(), f64::from(waited));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_or_fails_is_charged_no_tokens() {
    let model = acts(|call| match call {
        0 => Ok(stream::pending().boxed()),
        1 => answer(vec![part("a"), Err(gone())]),
        _ => answer(vec![part("a"), done()]),
    });
    let model = RateLimit::new(model, 1000, SECOND).with_burst(1000).with_tokens(1, 3600 * SECOND);
    drop(model.stream(ask("hello")).await.unwrap());
    assert!(text(&model).await.is_err());
    let begun = Instant::now();
    text(&model).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_still_something() {
    let model = RateLimit::new(says(), 0, Duration::ZERO).with_burst(0);
    assert_eq!(times(&model, 3).await.len(), 3);
}
