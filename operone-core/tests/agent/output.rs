//! Final answers that must fit a schema.

use std::sync::Arc;

use operone_core::agent::{Agent, AgentSpec, OUTPUT_RETRIES, Run};
use operone_core::in_process::{ScriptedModel, ScriptedTurn};
use operone_core::journal::Status;
use operone_core::model::{Finish, FinishReason, Message, Usage};
use operone_core::tool::{ToolContext, ToolHandle, ToolSpec};
use operone_core::{Error, ErrorKind};
use serde_json::json;

use super::{call, scripted};

#[derive(Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
struct City {
    name: String,
    #[schemars(range(min = 0))]
    inhabitants: i64,
}

const LISBON: &str = r#"{"name": "Lisbon", "inhabitants": 575739}"#;

fn model(answers: &[&str]) -> (Arc<ScriptedModel>, Agent) {
    let turns = answers.iter().map(|answer| ScriptedTurn::text([*answer])).collect();
    let model = Arc::new(ScriptedModel::new(turns));
    (Arc::clone(&model), Agent::new(model))
}

fn last_message(model: &ScriptedModel) -> String {
    match model.requests().last().unwrap().messages.last().unwrap() {
        Message::User { content } => content.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_model_is_told_the_schema_and_what_was_wrong() {
    let negative = r#"{"name": "Lisbon", "inhabitants": -1}"#;
    let (model, agent) = model(&["It is Lisbon.", negative, LISBON]);
    let city: City = agent.run_typed("Which is the capital of Portugal?").await.unwrap();
    assert_eq!(city, City { name: "Lisbon".into(), inhabitants: 575_739 });
    let requests = model.requests();
    let Message::System { content } = &requests[0].messages[0] else { panic!("no instructions") };
    assert!(content.contains(r#""inhabitants""#), "{content}");
    assert!(requests[0].response_schema.is_some());
    assert!(matches!(&requests[1].messages[3], Message::User { content } if content.contains("not JSON")));
    let correction = last_message(&model);
    assert!(correction.contains("/inhabitants: -1 is less than the minimum of 0"), "{correction}");
}

#[tokio::test]
async fn corrections_are_bounded_and_the_failure_says_what_was_wrong() {
    let answers = ["no"; OUTPUT_RETRIES as usize + 2];
    let (model, agent) = model(&answers);
    let error = agent.run_typed::<City>("Which city?").await.unwrap_err();
    assert_eq!(error.code(), "output_mismatch");
    assert!(error.message().contains("not JSON"), "{error}");
    assert_eq!(model.requests().len(), OUTPUT_RETRIES as usize + 1);
}

#[tokio::test]
async fn tools_may_be_called_on_the_way_to_a_typed_answer() {
    let (model, agent) = scripted(vec![
        call("1", "echo", r#"{"text": "Lisbon"}"#),
        ScriptedTurn::text([format!("```json\n{LISBON}\n```")]),
    ]);
    assert_eq!(agent.run_typed::<City>("Which city?").await.unwrap().name, "Lisbon");
    assert!(
        model.requests().iter().all(|request| request.response_schema.is_none()),
        "many services refuse both"
    );
}

#[tokio::test]
async fn an_answer_that_a_layer_below_refuses_for_its_shape_is_corrected_too() {
    let broken = Error::new(ErrorKind::Unavailable, "it is not JSON").with_code("option_not_honoured");
    let model = Arc::new(ScriptedModel::new(vec![
        ScriptedTurn::error(&broken).after_text("It is Lisbon."),
        ScriptedTurn::text([LISBON]),
    ]));
    let city: City = Agent::new(Arc::clone(&model) as _).run_typed("Which city?").await.unwrap();
    assert_eq!(city.name, "Lisbon");
    assert!(last_message(&model).contains("it is not JSON: "));
}

#[tokio::test]
async fn an_invalid_schema_is_refused_at_once() {
    let (_, agent) = model(&[]);
    let error = agent.with_output_schema(json!({"type": "objekt"})).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "invalid_schema"));
}

#[test]
fn a_stored_run_keeps_its_schema_and_its_count_of_corrections() {
    let mut spec = AgentSpec::new("go", vec![]);
    spec.output_schema = Some(json!({"type": "integer"}));
    let mut run = Run::new(&spec);
    for _ in 0..=OUTPUT_RETRIES {
        let step = run.think_begun(None).unwrap();
        let finish = Finish::new(FinishReason::Stop, Usage::default());
        run.model_answered(step, "seven".into(), vec![], vec![], &finish);
        run = Run::from_snapshot(&run.to_snapshot().unwrap()).unwrap();
    }
    let operone_core::agent::Next::Done(end) = run.next() else { panic!("it goes on") };
    assert_eq!((end.status, end.error.unwrap().code.as_str()), (Status::Failed, "output_mismatch"));
}

#[tokio::test]
async fn the_input_of_a_tool_without_a_type_is_checked_before_the_call() {
    let schema = json!({
        "type": "object", "required": ["to"], "additionalProperties": false,
        "properties": {"to": {"type": "string"}, "copies": {"type": "integer", "maximum": 3}}
    });
    let tool = ToolHandle::from_fn(
        ToolSpec::new("print", "Prints").with_input_schema(schema),
        |_, input| async move {
            assert!(input["to"].is_string());
            Ok(json!("printed"))
        },
    );
    let context = ToolContext::default();
    for (input, fault) in [
        (json!({}), "\"to\" is a required property"),
        (json!({"to": 7}), "/to: 7 is not of type \"string\""),
        (json!({"to": "a", "copies": 4}), "/copies: 4 is greater than the maximum of 3"),
        (json!({"to": "a", "cc": "b"}), "'cc' was unexpected"),
        (json!([1]), "[1] is not of type \"object\""),
        (json!(null), "\"to\" is a required property"),
    ] {
        let error = tool.call(&context, input).await.unwrap_err();
        assert_eq!(error.code(), "invalid_input");
        assert!(error.message().contains(fault), "{error}");
    }
    assert_eq!(tool.call(&context, json!({"to": "a", "copies": 3})).await.unwrap(), json!("printed"));

    let elsewhere =
        ToolSpec::new("any", "").with_input_schema(json!({"$ref": "https://example.com/schema.json"}));
    let tool = ToolHandle::from_fn(elsewhere, |_, input| async move { Ok(input) });
    assert_eq!(
        tool.call(&context, json!(1)).await.unwrap(),
        1,
        "a schema that cannot be read checks nothing"
    );
}

#[tokio::test]
async fn a_sub_agent_is_held_to_its_schema_and_its_failure_is_the_callers_to_read() {
    for (answers, read) in [
        (vec!["Lisbon", LISBON], LISBON.to_owned()),
        (vec!["no"; OUTPUT_RETRIES as usize + 1], "output_mismatch".to_owned()),
    ] {
        let (_, geographer) = model(&answers);
        let geographer = geographer.with_output_schema(json!({"type": "object"})).unwrap();
        let (model, agent) = scripted(vec![
            call("1", "agent.geographer", r#"{"task": "capital"}"#),
            ScriptedTurn::text(["done"]),
        ]);
        let agent = agent.with_agent("geographer", "Knows cities", &geographer).unwrap();
        assert_eq!(agent.run("go").await.unwrap().into_text().unwrap(), "done");
        let requests = model.requests();
        let Some(Message::Tool { content, .. }) = requests[1].messages.last() else { panic!("no answer") };
        assert!(content.contains(&read), "{content}");
    }
}
