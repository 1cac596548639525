//! Whatever stands around a model, it is still a model.

use futures_util::{FutureExt, StreamExt};
use operone_core::conformance::language_model;
use operone_core::in_process::{ExtractiveModel, ScriptedModel, ScriptedTurn};
use operone_core::model::layers::{
    Cache, ConcurrencyLimit, Fallback, ModelMetrics, RateLimit, Recorder, Replayer, Retry, Telemetry,
    Timeouts,
};
use operone_core::model::{ModelOption, Reasoning};

use super::*;

const LAYERS: [&str; 8] =
    ["retry", "timeouts", "fallback", "rate", "concurrency", "cache", "recorder", "telemetry"];

fn layer(name: &str, model: Model, file: &TemporaryFile) -> Model {
    match name {
        "retry" => Arc::new(Retry::new(model)),
        "timeouts" => Arc::new(Timeouts::new(model)),
        "fallback" => Arc::new(Fallback::new(model)),
        "rate" => Arc::new(
            RateLimit::new(model, 1_000_000, Duration::from_secs(1))
                .with_burst(1000)
                .with_tokens(1 << 40, Duration::from_secs(1)),
        ),
        "concurrency" => Arc::new(ConcurrencyLimit::new(model, 2)),
        "cache" => Arc::new(Cache::new(model, 1 << 20)),
        "recorder" => Arc::new(Recorder::new(model, &file.0).unwrap()),
        "telemetry" => {
            Arc::new(Telemetry::new(model).with_metrics(ModelMetrics::default()).with_content(true))
        }
        other => panic!("{other}"),
    }
}

fn stack(names: &[&str], model: Model, file: &TemporaryFile) -> Model {
    names.iter().fold(model, |model, name| layer(name, model, file))
}

/// Every order of two layers, and many orders of all.
fn orders() -> Vec<Vec<&'static str>> {
    let pairs = LAYERS.iter().flat_map(|one| LAYERS.iter().map(|other| vec![*one, *other]));
    let mut orders: Vec<_> = pairs.filter(|pair| pair[0] != pair[1]).collect();
    let mut number = 12345_u64;
    for _ in 0..100 {
        let mut all = LAYERS.to_vec();
        for end in (1..all.len()).rev() {
            number = number.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            all.swap(end, (number >> 33) as usize % (end + 1));
        }
        orders.push(all);
    }
    orders
}

fn script() -> Model {
    let script = vec![ScriptedTurn::text(["Lis", "bon."]).after_reasoning(Reasoning::signature("s")); 24];
    let honoured = ModelOption::ALL.into_iter().filter(|option| *option != ModelOption::ResponseSchema);
    Arc::new(ScriptedModel::new(script).with_options(honoured))
}

#[tokio::test]
async fn a_stack_in_any_order_keeps_the_promises_of_a_model() {
    for names in orders() {
        for case in language_model::CASES {
            let file = TemporaryFile::new();
            language_model::run(case, stack(&names, Arc::new(ExtractiveModel), &file)).await;
            let file = TemporaryFile::new();
            language_model::run(case, stack(&names, script(), &file)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_an_answer_drops_the_one_below_in_any_order() {
    for names in orders() {
        let (slow, open) = Slow::new(0, 10);
        let file = TemporaryFile::new();
        let model = stack(&names, slow, &file);
        let mut answer = model.stream(ask("hello")).await.unwrap();
        answer.next().await.unwrap().unwrap();
        assert_eq!(open.now(), 1, "{names:?}");
        drop(answer);
        assert_eq!(open.now(), 0, "{names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_drops_the_one_below_in_any_order() {
    for names in orders() {
        let (slow, open) = Slow::new(10, 0);
        let file = TemporaryFile::new();
        let model = stack(&names, slow, &file);
        let mut call = Box::pin(async { model.stream(ask("hello")).await.unwrap().next().await });
        assert!(call.as_mut().now_or_never().is_none());
        assert_eq!(open.now(), 1, "{names:?}");
        drop(call);
        assert_eq!(open.now(), 0, "{names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_an_answer_the_one_below_is_dropped_too() {
    for name in LAYERS {
        let (slow, open) = Slow::new(0, 1);
        let file = TemporaryFile::new();
        let mut answer = layer(name, slow, &file).stream(ask("hello")).await.unwrap();
        while !matches!(answer.next().await, Some(Ok(ModelEvent::Done(_)))) {}
        assert_eq!(open.now(), 0, "{name}");
        assert!(answer.next().await.is_none());
    }
}

/// The conformance suite of one layer, with a test for each promise.
macro_rules! conformance {
    ($($name:ident)*) => {$(
        mod $name {
            use super::*;

            async fn fresh() -> (Model, TemporaryFile) {
                let file = TemporaryFile::new();
                (layer(stringify!($name), Arc::new(ExtractiveModel), &file), file)
            }

            operone_core::language_model_conformance!(fresh);
        }
    )*};
}

conformance! { retry timeouts fallback rate concurrency cache recorder telemetry }

mod all {
    use super::*;

    async fn fresh() -> (Model, TemporaryFile) {
        let file = TemporaryFile::new();
        (stack(&LAYERS, script(), &file), file)
    }

    operone_core::language_model_conformance!(fresh);
}

mod replayer {
    use super::*;

    async fn fresh() -> (Model, ()) {
        let file = TemporaryFile::new();
        let recorder: Model = Arc::new(Recorder::new(Arc::new(ExtractiveModel), &file.0).unwrap());
        for case in language_model::CASES {
            language_model::run(case, Arc::clone(&recorder)).await;
        }
        (Arc::new(Replayer::open(&file.0).unwrap()), ())
    }

    operone_core::language_model_conformance!(fresh);
}
