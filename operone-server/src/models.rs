//! The language models of the server: the one that answers where nothing is said, and those that are chosen by name.

use std::sync::Arc;

use operone_core::agent::{AgentSpec, SubagentSpec};
use operone_core::error::Result;
use operone_core::in_process::ExtractiveModel;
use operone_core::model::LanguageModel;
use operone_core::model::layers::{ModelMetrics, Retry, Telemetry};
use operone_models::Models;

use crate::config::Config;

/// Whose answers agents get. A service is asked again after a failure that may pass, and its calls carry spans and are
/// counted.
#[derive(Debug)]
pub(crate) struct ServerModels {
    metrics: ModelMetrics,
    default: Arc<dyn LanguageModel>,
    extractive: Arc<dyn LanguageModel>,
    /// By their own names.
    named: Vec<(String, Arc<dyn LanguageModel>)>,
    choices: Models,
}

impl ServerModels {
    /// Those of the configuration. A default model that nobody knows is an error here, not at the first run.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let extractive: Arc<dyn LanguageModel> = Arc::new(ExtractiveModel);
        let metrics = ModelMetrics::default();
        let counted = metrics.clone();
        let choices = config.models.clone().with_layers(Arc::new(move |model| {
            let model = Arc::new(Retry::new(model));
            Arc::new(Telemetry::new(model).with_metrics(counted.clone()))
        }));
        let default = match &config.model {
            Some(choice) => choices.choose(choice)?,
            None => Arc::clone(&extractive),
        };
        let mut named: Vec<_> =
            [&default, &extractive].map(|model| (model.info().name, Arc::clone(model))).into();
        named.dedup_by(|(second, _), (first, _)| first == second);
        Ok(Self { metrics, default, extractive, named, choices })
    }

    /// What the calls of services took and cost.
    pub(crate) fn metrics(&self) -> &ModelMetrics {
        &self.metrics
    }

    /// The model that answers where nothing is said.
    pub(crate) fn default(&self) -> &Arc<dyn LanguageModel> {
        &self.default
    }

    /// The models that are there by their own names: the default one, and the extractive one.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Arc<dyn LanguageModel>> {
        self.named.iter().map(|(_, model)| model)
    }

    /// The model of this name: the default one's own, or a choice such as `anthropic:claude-sonnet-4-6`.
    pub(crate) fn choose(&self, name: &str) -> Result<Arc<dyn LanguageModel>> {
        match self.named.iter().find(|(own, _)| own == name) {
            Some((_, model)) => Ok(Arc::clone(model)),
            None => self.choices.choose(name),
        }
    }

    /// The model of an agent: by rules without `ai`.
    pub(crate) fn of(&self, spec: &AgentSpec) -> Result<Arc<dyn LanguageModel>> {
        self.granted(spec.grants("ai"), spec.model.as_deref())
    }

    /// The model of a sub-agent: its own choice, else that of the agent above it.
    pub(crate) fn of_subagent(
        &self,
        spec: &AgentSpec,
        agent: &SubagentSpec,
    ) -> Result<Arc<dyn LanguageModel>> {
        let choice = agent.model.as_deref().or(spec.model.as_deref());
        self.granted(agent.capabilities.iter().any(|granted| granted == "ai"), choice)
    }

    fn granted(&self, has_model: bool, choice: Option<&str>) -> Result<Arc<dyn LanguageModel>> {
        match choice {
            _ if !has_model => Ok(Arc::clone(&self.extractive)),
            Some(choice) => self.choose(choice),
            None => Ok(Arc::clone(&self.default)),
        }
    }

    /// Whether it is known what every turn of this agent and its sub-agents costs.
    pub(crate) fn have_prices(&self, spec: &AgentSpec) -> bool {
        let is_priced = |model: Result<Arc<dyn LanguageModel>>| {
            model.is_ok_and(|model| !model.info().is_language_model || model.info().price.is_some())
        };
        let below = spec.agents.iter().map(|agent| self.of_subagent(spec, agent));
        [self.of(spec)].into_iter().chain(below).all(is_priced)
    }
}
