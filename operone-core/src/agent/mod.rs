//! Agents: the state machine of a run, the driver that does its I/O, and streams of its events.

mod budget;
mod conversation;
mod drive;
mod driver;
mod durable;
mod embedded;
mod event;
mod handler;
mod live;
mod log;
mod machine;
mod policy;
mod spec;
mod step;
mod stream;

pub use budget::Budget;
pub use conversation::Conversation;
pub use driver::{Driven, Driver, RunIdentity, Subagent};
pub use durable::{DurableAgent, DurableRuns};
pub use embedded::{Agent, Approver};
pub use event::{Cursor, RunEvent};
pub use handler::{AgentHandler, Grants, Restored, RunServices};
pub use live::Live;
pub use log::{JournalLog, Resolved, RunLog, Suspended};
pub use machine::{
    Action, CallApproval, FORMAT, Next, OUTPUT_RETRIES, PendingCall, ProposedCall, Run, RunEnd, ToolOutcome,
};
pub use policy::ApprovalPolicy;
pub use spec::{AgentSpec, DEFAULT_MAX_STEPS, MAX_STEPS_LIMIT, Resources, SubagentSpec};
pub use stream::run_events;
