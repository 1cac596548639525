//! Children that keep to the protocol, and children that do not.

use std::time::{Duration, Instant};

use operone_core::ErrorKind;
use operone_core::tool::{ToolContext, ToolSet};
use operone_mcp::{McpCommand, McpConfig, McpServer};
use serde_json::{Value, json};

use crate::scripted::{Scripted, call, failure, is_alive, tool, wait_until};

#[tokio::test]
async fn a_call_reaches_the_server_under_its_key() {
    let scripted = Scripted::new();
    let server = scripted.server("");
    let tool = tool(&server, "s.t").await;
    let mut context = ToolContext::default();
    context.idempotency_key = "key-1".into();
    assert_eq!(tool.call(&context, json!({"a": [1]})).await.unwrap(), "hello");
    let calls = scripted.received("tools/call");
    assert_eq!(calls[0]["params"]["name"], "t");
    assert_eq!(calls[0]["params"]["arguments"], json!({"a": [1]}));
    assert_eq!(calls[0]["params"]["_meta"]["operone/idempotency_key"], "key-1");
    assert_eq!(scripted.received("initialize")[0]["params"]["clientInfo"]["name"], "operone");
    assert_eq!(call(&tool, json!(3)).await.unwrap_err().code(), "invalid_input");
    assert_eq!(call(&tool, Value::Null).await.unwrap(), "hello");
}

#[tokio::test]
async fn the_child_gets_the_environment_that_is_named_and_no_more() {
    let scripted = Scripted::new();
    let server = scripted.server("env > \"$FOLDER/environment\"");
    server.tools().await.unwrap();
    let mut names: Vec<String> = scripted
        .lines("environment")
        .iter()
        .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
        // What a shell sets itself.
        .filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(&name.as_str()))
        .collect();
    names.sort();
    assert_eq!(names, ["FOLDER", "PATH"]);
}

#[tokio::test]
async fn pages_are_read_to_the_last_and_the_list_is_kept() {
    let scripted = Scripted::new();
    let server = scripted.server(
        r#"list() { case $line in
             *'"cursor":"two"'*) answer '{"tools":['"$(tool b),$(tool a)"']}' ;;
             *) answer '{"tools":['"$(tool a),$(tool 'c d')"'],"nextCursor":"two"}' ;;
           esac; }"#,
    );
    for _ in 0..3 {
        let names: Vec<String> =
            server.tools().await.unwrap().iter().map(|tool| tool.spec().name.clone()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names[0] == "s.a" && names[1].starts_with("s.c_d-") && names[2] == "s.b", "{names:?}");
    }
    assert_eq!(scripted.received("tools/list").len(), 2);
}

#[tokio::test]
async fn a_list_without_an_end_is_an_error() {
    let scripted = Scripted::new();
    let server = scripted.server(r#"list() { answer '{"tools":[],"nextCursor":"again"}'; }"#);
    assert_eq!(server.tools().await.unwrap_err().code(), "mcp_protocol");
}

#[tokio::test]
async fn a_changed_list_is_read_again() {
    let scripted = Scripted::new();
    let server = scripted.server(
        r#"n=0
           list() { n=$((n+1)); answer '{"tools":['"$(tool t$n)"']}'; }
           call() { content changed; printf '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n'; }"#,
    );
    let before = tool(&server, "s.t1").await;
    call(&before, json!({})).await.unwrap();
    for _ in 0..200 {
        if server.tools().await.unwrap()[0].spec().name == "s.t2" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the list was not read again");
}

#[tokio::test]
async fn a_child_that_dies_in_a_call_is_started_by_the_next() {
    let scripted = Scripted::new();
    let server = scripted.server(
        r#"call() { if [ -e "$FOLDER/died" ]; then content back; else : > "$FOLDER/died"; exit 1; fi; }"#,
    );
    let tool = tool(&server, "s.t").await;
    let error = failure(&tool).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "mcp_unavailable"));
    assert!(error.is_retryable());
    assert_eq!(call(&tool, json!({})).await.unwrap(), "back");
    assert_eq!(scripted.started().len(), 2);
}

#[tokio::test]
async fn a_child_that_dies_again_and_again_is_left_alone_for_a_while() {
    let scripted = Scripted::new();
    let server = scripted.server("exit 3");
    let mut waits = 0;
    for _ in 0..6 {
        let error = server.tools().await.unwrap_err();
        assert_eq!(error.code(), "mcp_unavailable");
        waits += usize::from(error.retry_after().is_some());
    }
    assert!(waits >= 3, "{waits}");
    assert!(scripted.started().len() <= 3, "{:?}", scripted.started());
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(server.tools().await.unwrap_err().retry_after().is_none(), "it is tried again");
}

#[tokio::test]
async fn many_who_come_at_once_start_one_child() {
    let scripted = Scripted::new();
    let server = scripted.server("sleep 0.2");
    let all = futures_util::future::join_all((0..8).map(|_| server.tools())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(scripted.started().len(), 1);
}

#[tokio::test]
async fn a_start_goes_on_for_the_next_when_the_first_gives_up() {
    let scripted = Scripted::new();
    let server = scripted.server("sleep 0.5");
    assert!(tokio::time::timeout(Duration::from_millis(100), server.tools()).await.is_err());
    tokio::time::sleep(Duration::from_millis(800)).await;
    let begun = Instant::now();
    server.tools().await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(450), "{:?}", begun.elapsed());
    assert_eq!(scripted.started().len(), 1);
}

#[tokio::test]
async fn calls_run_side_by_side() {
    let scripted = Scripted::new();
    let server = scripted.server(
        r#"call() { case $line in
             *slow*) slow=$id ;;
             *) content fast; id=$slow; content slow ;;
           esac; }"#,
    );
    let tool = tool(&server, "s.t").await;
    let (slow, fast) = tokio::join!(call(&tool, json!({"x": "slow"})), async {
        wait_until("the slow call", || scripted.received("tools/call").len() == 1).await;
        call(&tool, json!({})).await
    });
    assert_eq!((slow.unwrap(), fast.unwrap()), (json!("slow"), json!("fast")));
}

#[tokio::test]
async fn a_server_that_never_answers_is_told_to_stop_and_given_up_in_the_end() {
    let scripted = Scripted::new();
    let config = scripted.config("call() { :; }").with_call_timeout(Duration::from_millis(150));
    let server = McpServer::new(config).unwrap();
    let tool = tool(&server, "s.t").await;
    let pid = scripted.started()[0];
    for _ in 0..3 {
        assert!(is_alive(pid));
        let error = failure(&tool).await;
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "mcp_timeout"));
    }
    let calls = scripted.received("tools/call");
    wait_until("its end", || !is_alive(pid)).await;
    let cancelled = scripted.received("notifications/cancelled");
    assert!(!cancelled.is_empty());
    assert_eq!(cancelled[0]["params"]["requestId"], calls[0]["id"]);
}

#[tokio::test]
async fn a_greeting_that_never_comes_ends_in_time() {
    let scripted = Scripted::new();
    let config = scripted.config("greet() { :; }").with_start_timeout(Duration::from_millis(200));
    let server = McpServer::new(config).unwrap();
    let error = server.tools().await.unwrap_err();
    assert_eq!(error.code(), "mcp_timeout");
    let pid = scripted.started()[0];
    wait_until("its end", || !is_alive(pid)).await;
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_server() {
    let scripted = Scripted::new();
    let server = scripted.server("call() { :; }");
    let tool = tool(&server, "s.t").await;
    let context = ToolContext::default();
    let calls = || scripted.received("tools/call");
    let (result, ()) = tokio::join!(tool.call(&context, json!({})), async {
        wait_until("the call", || calls().len() == 1).await;
        context.cancelled.cancel();
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
    wait_until("the word to the server", || scripted.received("notifications/cancelled").len() == 1).await;

    // A future that is dropped says the same.
    let fresh = ToolContext::default();
    let dropped = tokio::time::timeout(Duration::from_millis(200), tool.call(&fresh, json!({}))).await;
    assert!(dropped.is_err());
    wait_until("the second word", || scripted.received("notifications/cancelled").len() == 2).await;
    let cancelled = scripted.received("notifications/cancelled");
    assert_eq!(cancelled[1]["params"]["requestId"], calls()[1]["id"]);
}

#[tokio::test]
async fn a_message_without_an_end_is_not_kept_in_memory() {
    let scripted = Scripted::new();
    let config =
        scripted.config("call() { while :; do printf '%01024d' 7; done; }").with_max_message(64 << 10);
    let server = McpServer::new(config).unwrap();
    let tool = tool(&server, "s.t").await;
    let error = failure(&tool).await;
    assert_eq!(error.code(), "mcp_unavailable");
    assert!(error.message().contains("more than 65536 bytes"), "{error}");
    let pid = scripted.started()[0];
    wait_until("its end", || !is_alive(pid)).await;
}

#[tokio::test]
async fn a_few_lines_that_are_no_messages_do_no_harm() {
    let scripted = Scripted::new();
    let server = scripted.server("echo 'Welcome!'; echo; echo '[1, 2]'; echo warning >&2");
    assert_eq!(call(&tool(&server, "s.t").await, json!({})).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_server_that_writes_nothing_but_garbage_is_given_up() {
    let scripted = Scripted::new();
    let server = scripted.server("call() { while :; do echo garbage; done; }");
    let error = failure(&tool(&server, "s.t").await).await;
    assert!(error.message().contains("no messages"), "{error}");
}

#[tokio::test]
async fn an_answer_of_the_wrong_shape_is_an_error_at_once() {
    let scripted = Scripted::new();
    let server = scripted.server("call() { answer '{\"content\":3}'; }");
    let tool = tool(&server, "s.t").await;
    assert_eq!(failure(&tool).await.code(), "mcp_protocol");
    assert_eq!(failure(&tool).await.code(), "mcp_protocol", "the server is still there");
    assert_eq!(scripted.started().len(), 1);
}

#[tokio::test]
async fn what_the_server_refuses_is_told_in_its_words() {
    let scripted = Scripted::new();
    let server = scripted.server(
        r#"call() { printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"a is missing"}}\n' "$id"; }"#,
    );
    let error = failure(&tool(&server, "s.t").await).await;
    assert_eq!((error.code(), error.message()), ("invalid_input", "a is missing"));
}

#[tokio::test]
async fn the_standard_error_stays_out_of_errors_and_may_be_endless() {
    let scripted = Scripted::new();
    let server = scripted.server("call() { i=0; while [ $i -lt 4000 ]; do echo 'password=sesame password=sesame' >&2; i=$((i+1)); done; exit 1; }");
    let error = failure(&tool(&server, "s.t").await).await;
    assert!(!format!("{error:?} {}", error.with_causes()).contains("sesame"));
}

#[tokio::test]
async fn a_dropped_server_takes_all_its_processes_with_it() {
    let scripted = Scripted::new();
    let server = scripted.server("sleep 600 & echo $! > \"$FOLDER/grandchild\"");
    let tool = tool(&server, "s.t").await;
    let grandchild: u32 = scripted.lines("grandchild")[0].parse().unwrap();
    let child = scripted.started()[0];
    assert!(is_alive(child) && is_alive(grandchild));
    drop(server);
    wait_until("their end", || !is_alive(child) && !is_alive(grandchild)).await;
    let error = failure(&tool).await;
    assert_eq!((error.code(), error.is_retryable()), ("mcp_unavailable", false));
    assert_eq!(scripted.started().len(), 1);
}

#[tokio::test]
async fn a_child_that_leaves_others_behind_takes_them_with_it() {
    let scripted = Scripted::new();
    let server =
        scripted.server("sleep 600 >/dev/null & echo $! > \"$FOLDER/grandchild\"\ncall() { exit 0; }");
    let tool = tool(&server, "s.t").await;
    let grandchild: u32 = scripted.lines("grandchild")[0].parse().unwrap();
    failure(&tool).await;
    wait_until("its end", || !is_alive(grandchild)).await;
}

#[tokio::test]
async fn a_closed_server_may_leave_by_itself() {
    let scripted = Scripted::new();
    let config = scripted.config("trap 'echo left > \"$FOLDER/left\"' EXIT");
    let server = McpServer::new(config).unwrap();
    server.tools().await.unwrap();
    server.close().await;
    assert_eq!(scripted.lines("left"), ["left"]);
    assert!(!is_alive(scripted.started()[0]));
    assert_eq!(server.tools().await.unwrap_err().code(), "mcp_unavailable");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error() {
    let command = McpCommand::new("/no/such/program").with_variable("TOKEN", "sesame");
    let server = McpServer::new(McpConfig::new("s", command)).unwrap();
    let error = server.tools().await.unwrap_err();
    assert_eq!(error.code(), "mcp_unavailable");
    assert!(!format!("{error:?} {server:?}").contains("sesame"));
}
