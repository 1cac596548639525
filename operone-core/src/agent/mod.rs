//! Agents: the state machine of a run, the driver that does its I/O, and streams of its events.

mod driver;
mod embedded;
mod event;
mod handler;
mod live;
mod log;
mod machine;
mod spec;
mod stream;

pub use driver::{Driver, RunIdentity};
pub use embedded::Agent;
pub use event::{Cursor, RunEvent};
pub use handler::{AgentHandler, Grants, RunServices, restore};
pub use live::Live;
pub use log::{JournalLog, RunLog};
pub use machine::{FORMAT, Next, PendingCall, Run, RunEnd, ToolOutcome};
pub use spec::{AgentSpec, DEFAULT_MAX_STEPS, MAX_STEPS_LIMIT, Resources};
pub use stream::run_events;
