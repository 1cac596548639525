//! The next model is asked where one fails.

use operone_core::model::layers::Fallback;

use super::*;

fn says(word: &'static str) -> Model {
    acts(move |_| answer(vec![part(word), done()]))
}

fn fails(code: &'static str) -> Model {
    acts(move |_| Err(Error::invalid("no").with_code(code)))
}

#[tokio::test]
async fn the_first_that_answers_is_heard() {
    let unasked = acts(|_| answer(vec![part("c"), done()]));
    let model = Fallback::new(fails("one")).or(says("b")).or(shared(&unasked));
    assert_eq!(text(&model).await.unwrap(), "b");
    assert_eq!(unasked.calls(), 0);
    assert_eq!(text(&Fallback::new(says("a")).or(says("b"))).await.unwrap(), "a");
}

#[tokio::test]
async fn an_answer_that_breaks_before_its_first_event_is_a_failure() {
    let model =
        Fallback::new(acts(|_| answer(vec![Err(gone())]))).or(acts(|_| answer(Vec::new()))).or(says("c"));
    assert_eq!(text(&model).await.unwrap(), "c");
}

#[tokio::test]
async fn an_answer_is_never_put_together_from_two() {
    let broken = acts(|_| answer(vec![part("a"), Err(gone())]));
    let events = events(&Fallback::new(broken).or(says("b")), ask("hello")).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].as_ref().unwrap_err().code(), "model_unavailable");
}

#[tokio::test]
async fn the_last_error_is_given_where_all_fail() {
    let model = Fallback::new(fails("one")).or(fails("two")).or(fails("three"));
    assert_eq!(text(&model).await.unwrap_err().code(), "three");
    assert_eq!(text(&Fallback::new(fails("one"))).await.unwrap_err().code(), "one");
}

#[tokio::test]
async fn what_was_cancelled_is_not_asked_of_another() {
    let cancelled = acts(|_| Err(Error::new(ErrorKind::Cancelled, "enough")));
    let error = text(&Fallback::new(cancelled).or(says("b"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn it_is_the_first_model_to_the_outside() {
    let (slow, _) = Slow::new(0, 0);
    assert_eq!(Fallback::new(slow).or(says("b")).info().name, "slow");
}
