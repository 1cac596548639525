//! Drives one run: does what the state machine wants done, and writes each step to the log before and after.

mod begin;
mod suspend;

use std::collections::{HashMap, HashSet};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::driver::{Driven, Driver, RunIdentity};
use super::event;
use super::log::{Resolved, RunLog};
use super::machine::{Next, Run, RunEnd};
use super::step::{Finished, Result as StepResult};
use crate::error::{Error, Result};
use crate::journal::NewEvent;

pub(super) use suspend::refusal;

/// The most steps of one run that go on at once.
const MAX_AT_ONCE: usize = 8;

/// One run on its way.
pub(super) struct Drive<'a> {
    driver: &'a Driver,
    identity: &'a RunIdentity,
    log: &'a dyn RunLog,
    run: Run,
    /// The end of the run was asked for.
    cancelled: CancellationToken,
    /// The steps that go on must stop, for whatever reason.
    stop: CancellationToken,
    going: FuturesUnordered<BoxFuture<'a, Finished>>,
    /// The steps that go on.
    steps: HashSet<u64>,
    /// The steps whose end is told.
    closed: HashSet<u64>,
    /// When the tasks of sub-agents were given.
    delegated: HashMap<u64, Instant>,
    /// Events of what has ended, to be written together with what follows.
    ended: Vec<NewEvent>,
    /// Time of work is counted from here.
    counted: Instant,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        driver: &'a Driver,
        identity: &'a RunIdentity,
        run: Run,
        log: &'a dyn RunLog,
        cancelled: CancellationToken,
    ) -> Self {
        let stop = cancelled.child_token();
        Self {
            driver,
            identity,
            log,
            run,
            cancelled,
            stop,
            going: FuturesUnordered::new(),
            steps: HashSet::new(),
            closed: HashSet::new(),
            delegated: HashMap::new(),
            ended: Vec::new(),
            counted: Instant::now(),
        }
    }

    pub(super) async fn run(mut self, resolved: Vec<Resolved>) -> Result<Driven> {
        self.resolve(resolved);
        loop {
            if self.cancelled.is_cancelled() {
                self.run.cancelled();
            }
            self.run.worked(self.counted.elapsed());
            self.counted = Instant::now();
            match self.run.next() {
                Next::Done(end) => {
                    self.stop_all().await;
                    return self.finish(end).await;
                }
                Next::Wait(calls) => {
                    if let Some(driven) = self.suspend(calls).await? {
                        return Ok(driven);
                    }
                }
                Next::Do(actions) => {
                    if !self.begin(actions).await? {
                        self.wait_for_a_step().await;
                    }
                }
            }
        }
    }

    /// Takes over what was decided of the calls that the run waits for.
    fn resolve(&mut self, resolved: Vec<Resolved>) {
        for resolved in resolved {
            let comment = resolved.comment.clone();
            let call = self.run.decided(&self.identity.run, &resolved.id, resolved.verdict, comment);
            self.ended.extend(call.map(|call| event::approval_decided(&call, &resolved)));
        }
    }

    async fn wait_for_a_step(&mut self) {
        let time_left = self.run.time_left();
        let out_of_time = async {
            match time_left {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        let finished = tokio::select! {
            biased;
            finished = self.going.next() => finished,
            () = out_of_time => {
                self.run.out_of_time();
                return;
            }
        };
        match finished {
            Some(finished) => self.take(finished),
            // Unreachable: what cannot begin waits for what goes on.
            None => self.run.failed(Error::internal("the run has nothing to do and no end").report()),
        }
    }

    /// Takes over what came of a step.
    fn take(&mut self, finished: Finished) {
        let Finished { step, millis, result } = finished;
        self.steps.remove(&step);
        self.closed.insert(step);
        match result {
            StepResult::Thought { text, reasoning, agents, calls, finish } => {
                let driver = self.driver.at(&agents).unwrap_or(self.driver);
                let tainted = self.run.is_tainted_at(step);
                let calls = calls.into_iter().map(|call| driver.propose(call, &self.run, tainted)).collect();
                self.ended.push(event::step_ended(step, "ok", &text, millis));
                self.run.model_answered(step, text, reasoning, calls, &finish);
            }
            StepResult::NotThought { text, error } => {
                let (code, cause) = (error.code(), error.with_causes());
                tracing::warn!(run_step = step, code, error = %cause, "the model did not answer");
                self.ended.push(event::step_ended(step, "error", &text, millis));
                self.run.model_failed(step, text, error.report());
            }
            StepResult::Called { call, outcome } => {
                self.ended.extend(event::act_ended(&call, &outcome, millis));
                self.run.tool_answered(step, outcome);
            }
            StepResult::Stopped { text } => {
                self.ended.push(event::step_ended(step, "cancelled", &text, millis));
            }
        }
    }

    /// Stops the steps that still go on: the run has ended.
    async fn stop_all(&mut self) {
        self.stop.cancel();
        while let Some(finished) = self.going.next().await {
            self.take(finished);
        }
        // What was begun in an earlier life, and the tasks of sub-agents, go on nowhere.
        for step in self.run.open_steps() {
            if self.closed.insert(step) {
                self.ended.push(event::step_ended(step, "cancelled", "", 0));
            }
        }
    }

    async fn finish(mut self, end: RunEnd) -> Result<Driven> {
        self.ended.push(event::ended(&end));
        self.log.finish(self.ended, &self.run, &end).await?;
        Ok(Driven::Ended(end))
    }
}
