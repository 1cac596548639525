//! What stands between a caller and a model: each layer is a model around a model, and they go in any order.
//!
//! An answer ends with [`ModelEvent::Done`](super::ModelEvent::Done), with an error or cut off. A layer gives nothing
//! after that, and drops the stream below it then. Dropping the future or the stream of a layer drops those below it.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use operone_core::in_process::{ScriptedModel, ScriptedTurn};
//! use operone_core::model::LanguageModel;
//! use operone_core::model::layers::{ConcurrencyLimit, Retry, Timeouts};
//!
//! let script = ScriptedModel::new(vec![ScriptedTurn::text(["Hello."])]);
//! let model: Arc<dyn LanguageModel> = Arc::new(script);
//! let model = Arc::new(Timeouts::new(model).with_first_event(Duration::from_secs(20)));
//! let model = Arc::new(Retry::new(model));
//! let model: Arc<dyn LanguageModel> = Arc::new(ConcurrencyLimit::new(model, 4));
//! assert_eq!(model.info().name, "scripted");
//! ```

mod begin;
mod bucket;
mod cache;
mod canonical;
mod cassette;
mod concurrency;
mod fallback;
mod rate;
mod retry;
mod telemetry;
mod timeouts;
mod watch;

pub use cache::Cache;
pub use cassette::{Recorder, Replayer};
pub use concurrency::ConcurrencyLimit;
pub use fallback::Fallback;
pub use rate::RateLimit;
pub use retry::Retry;
pub use telemetry::{Histogram, Metric, ModelMetrics, Series, Telemetry};
pub use timeouts::Timeouts;
