//! The layers around a model keep their promises, each by itself and in any order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a broken promise fails the test")]

mod cache;
mod cassette;
mod concurrency;
mod fallback;
mod rate;
mod retry;
mod spans;
mod stacks;
mod telemetry;
mod timeouts;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use operone_core::model::{
    Finish, FinishReason, LanguageModel, Message, ModelEvent, ModelInfo, ModelRequest, ModelStream, Usage,
};
use operone_core::{Error, ErrorKind, Result};

type Model = Arc<dyn LanguageModel>;

/// A model that the test keeps hold of.
fn shared<M: LanguageModel>(model: &Arc<M>) -> Model {
    Arc::<M>::clone(model)
}

fn ask(text: &str) -> ModelRequest {
    ModelRequest::new(vec![Message::user(text)])
}

/// Everything that an answer gives, an error of the call included.
async fn events(model: &dyn LanguageModel, request: ModelRequest) -> Vec<Result<ModelEvent>> {
    match model.stream(request).await {
        Ok(stream) => stream.collect().await,
        Err(error) => vec![Err(error)],
    }
}

/// The text of a whole answer.
async fn text(model: &dyn LanguageModel) -> Result<String> {
    let mut text = String::new();
    for event in events(model, ask("hello")).await {
        if let ModelEvent::Text(part) = event? {
            text.push_str(&part);
        }
    }
    Ok(text)
}

fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "nobody is there").with_code("model_unavailable")
}

fn part(text: &str) -> Result<ModelEvent> {
    Ok(ModelEvent::Text(text.into()))
}

fn done() -> Result<ModelEvent> {
    Ok(ModelEvent::Done(Finish::new(FinishReason::Stop, Usage::new(3, 2))))
}

fn answer(items: Vec<Result<ModelEvent>>) -> Result<ModelStream> {
    Ok(stream::iter(items).boxed())
}

/// A model that does at each call what a function of the call's number says, from 0 on.
struct Acts<F> {
    calls: AtomicUsize,
    act: F,
}

fn acts<F>(act: F) -> Arc<Acts<F>>
where
    F: Fn(usize) -> Result<ModelStream> + Send + Sync + 'static,
{
    Arc::new(Acts { calls: AtomicUsize::new(0), act })
}

impl<F> Acts<F> {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl<F> fmt::Debug for Acts<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acts")
    }
}

#[async_trait]
impl<F: Fn(usize) -> Result<ModelStream> + Send + Sync + 'static> LanguageModel for Acts<F> {
    fn info(&self) -> ModelInfo {
        ModelInfo::rules("test", "acts")
    }

    async fn stream(&self, _: ModelRequest) -> Result<ModelStream> {
        (self.act)(self.calls.fetch_add(1, Ordering::SeqCst))
    }
}

/// A model that takes its time: before its first event, and before its end. It counts the calls that go on.
#[derive(Debug, Default)]
struct Slow {
    before_first: Duration,
    before_end: Duration,
    open: Arc<Open>,
}

#[derive(Debug, Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

impl Open {
    fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }
}

/// One call that goes on, for as long as this exists.
struct Going(Arc<Open>);

impl Drop for Going {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Slow {
    fn new(before_first: u64, before_end: u64) -> (Arc<Self>, Arc<Open>) {
        let open = Arc::new(Open::default());
        let (before_first, before_end) = (Duration::from_secs(before_first), Duration::from_secs(before_end));
        (Arc::new(Self { before_first, before_end, open: Arc::clone(&open) }), open)
    }
}

#[async_trait]
impl LanguageModel for Slow {
    fn info(&self) -> ModelInfo {
        ModelInfo::rules("test", "slow")
    }

    async fn stream(&self, _: ModelRequest) -> Result<ModelStream> {
        let now = self.open.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.open.most.fetch_max(now, Ordering::SeqCst);
        self.open.all.fetch_add(1, Ordering::SeqCst);
        let going = Going(Arc::clone(&self.open));
        tokio::time::sleep(self.before_first).await;
        let wait = self.before_end;
        let steps = stream::unfold((0, going), move |(step, going)| async move {
            let event = match step {
                0 => part("a"),
                1 => {
                    tokio::time::sleep(wait).await;
                    done()
                }
                _ => return None,
            };
            Some((event, (step + 1, going)))
        });
        Ok(steps.boxed())
    }
}

/// A file of its own, which is removed at the end.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new() -> Self {
        let name = format!("{}.jsonl", uuid::Uuid::new_v4());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
