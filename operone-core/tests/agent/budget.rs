//! What one run may use.

use operone_core::agent::Budget;
use operone_core::model::{
    Finish, FinishReason, LanguageModel, ModelEvent, ModelInfo, ModelRequest, ModelStream, Price, Usage,
};

use super::*;

/// A model that always calls `echo`, uses 10 tokens a turn, and has a price.
#[derive(Debug)]
struct Eager;

#[async_trait]
impl LanguageModel for Eager {
    fn info(&self) -> ModelInfo {
        ModelInfo::new("test", "eager").with_price(Some(Price::new(1_000_000, 2_000_000)))
    }

    async fn stream(&self, _: ModelRequest) -> Result<ModelStream> {
        let call = ToolCall::new("", "echo", r#"{"text": "again"}"#);
        let finish = Finish::new(FinishReason::ToolCalls, Usage::new(8, 2));
        let events = [ModelEvent::Call(call), ModelEvent::Done(finish)].map(Ok);
        Ok(Box::pin(futures_util::stream::iter(events)))
    }
}

async fn end_of(budget: Budget) -> RunEnd {
    Agent::new(Arc::new(Eager)).with_tool(echo()).unwrap().with_budget(budget).run("go").await.unwrap()
}

#[tokio::test]
async fn each_limit_ends_the_run_as_data() {
    for (budget, tokens, said) in [
        (Budget::default().with_tool_calls(3), 40, "3 tool calls"),
        (Budget::default().with_tokens(25), 30, "25 tokens"),
        (Budget::default().with_cost_micros(30), 30, "30 millionths"),
    ] {
        let end = end_of(budget).await;
        let error = end.error.unwrap();
        assert_eq!((end.status, error.code.as_str()), (Status::Failed, "budget_exceeded"));
        assert!(error.detail.contains(said), "{}", error.detail);
        assert_eq!((end.usage.total(), end.usage.cost_micros), (tokens, tokens / 10 * 12));
    }
}

#[tokio::test(start_paused = true)]
async fn time_ends_a_run_in_the_middle_of_a_tool() {
    let stopped = Arc::new(AtomicUsize::new(0));
    let model = Arc::new(ScriptedModel::new(vec![call("1", "endless", "{}")]));
    let agent = Agent::new(model)
        .with_tool(endless(&stopped, ToolClass::Read))
        .unwrap()
        .with_budget(Budget::default().with_seconds(60));
    let begun = tokio::time::Instant::now();
    let end = agent.run("go").await.unwrap();
    assert_eq!((end.status, end.error.unwrap().code.as_str()), (Status::Failed, "budget_exceeded"));
    assert_eq!((begun.elapsed().as_secs(), stopped.load(Ordering::SeqCst)), (60, 1));
}

#[tokio::test]
async fn sub_agents_draw_on_the_same_budget() {
    let helper = Agent::new(Arc::new(Eager)).with_tool(echo()).unwrap();
    let give = call("1", "agent.helper", r#"{"task": "work"}"#);
    let agent = Agent::new(Arc::new(ScriptedModel::new(vec![give])))
        .with_agent("helper", "Works", &helper)
        .unwrap()
        .with_budget(Budget::default().with_tool_calls(4));
    let end = agent.run("go").await.unwrap();
    assert_eq!(end.error.unwrap().code, "budget_exceeded");
    // One call of the agent, three of its helper, and the helper's turn that wanted a fourth.
    assert_eq!(end.usage.cost_micros, 4 * 12);
}
