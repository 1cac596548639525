//! Runs that know what was said before.

use super::embedded::Agent;
use super::machine::{Run, RunEnd};
use crate::error::Result;
use crate::model::Message;

/// A conversation with an agent. Each run goes on from the ones before it, with a full budget of its own.
///
/// ```
/// # use std::sync::Arc;
/// # use operone_core::agent::Agent;
/// # use operone_core::in_process::{ScriptedModel, ScriptedTurn};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let model = ["Hello Ada.", "You are Ada.", "Still Ada."].map(|text| ScriptedTurn::text([text])).to_vec();
/// let agent = Agent::new(Arc::new(ScriptedModel::new(model))).with_instructions("Be brief.");
/// let mut conversation = agent.conversation();
/// conversation.run("My name is Ada.").await?.into_text()?;
/// assert_eq!(conversation.run("Who am I?").await?.into_text()?, "You are Ada.");
///
/// // Messages are serde: keep them anywhere, and go on tomorrow.
/// let stored = serde_json::to_string(&conversation.messages()).unwrap();
/// let mut later = agent.conversation().with_messages(serde_json::from_str(&stored).unwrap());
/// later.run("And now?").await?.into_text()?;
/// assert_eq!(later.messages().len(), 6);
/// # Ok::<(), operone_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Conversation {
    agent: Agent,
    past: Past,
}

#[derive(Clone, Debug)]
enum Past {
    Messages(Vec<Message>),
    Run(Box<Run>),
}

impl Conversation {
    pub(super) fn new(agent: Agent) -> Self {
        Self { agent, past: Past::Messages(Vec::new()) }
    }

    /// Goes on from these messages, oldest first, in place of what was said so far.
    ///
    /// - System messages are left out: the agent's instructions hold.
    /// - Messages with answers of tools may have text from strangers in them: calls that send something out then need
    ///   approval, as the agent's [`ApprovalPolicy`](super::ApprovalPolicy) says.
    #[must_use]
    pub fn with_messages(mut self, messages: Vec<Message>) -> Self {
        self.past = Past::Messages(messages);
        self
    }

    /// Returns what was said so far, oldest first, without the instructions.
    pub fn messages(&self) -> &[Message] {
        match &self.past {
            Past::Messages(messages) => messages,
            Past::Run(run) => run.messages(),
        }
    }

    /// Says something and returns how the agent's run ended.
    ///
    /// - A failed run stays in the conversation: say what comes next, or the same again.
    /// - Calls that a failed run left open are answered for the model: whether they took effect is unknown.
    /// - Dropping the future stops the model and the tools and leaves the conversation as it was.
    pub async fn run(&mut self, message: impl Into<String>) -> Result<RunEnd> {
        let message = message.into();
        let run = match &self.past {
            Past::Messages(messages) => Run::with_history(&self.agent.spec(message), messages.clone()),
            Past::Run(run) => (**run).clone().resume(&self.agent.spec(String::new()), Some(message))?,
        };
        let (end, run) = self.agent.complete(run).await?;
        self.past = Past::Run(Box::new(run));
        Ok(end)
    }
}
