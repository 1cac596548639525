//! Models by name: which service a name means, and what the environment says about it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use operone_core::in_process::ExtractiveModel;
use operone_core::model::{LanguageModel, ModelOption, Price};
use operone_core::{Error, Result};

use crate::{Anthropic, OpenAiCompatible, OpenAiCompatibleEmbedder, Secret, ServiceConfig};

/// The model that needs no service.
const EXTRACTIVE: &str = "extractive";

/// The most models that are kept ready; names come from requests.
const MAX_READY: usize = 64;

/// How a service is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// [`OpenAiCompatible`].
    OpenAi,
    /// [`Anthropic`].
    Anthropic,
}

/// Puts layers around a model that was chosen.
pub type Layers = Arc<dyn Fn(Arc<dyn LanguageModel>) -> Arc<dyn LanguageModel> + Send + Sync>;

/// Language models and embedders that are chosen at run time by a name of the form `service:model`, for instance
/// `openai:gpt-4.1-mini`, `anthropic:claude-sonnet-4-6` or `ollama:qwen3:8b`; `extractive` needs no service.
///
/// The same name gives the same model again, with the state of its layers. Choosing asks nobody: whether the service
/// knows the model is seen when it is asked.
///
/// ```
/// use operone_models::{Models, Protocol, Secret, ServiceConfig};
///
/// let house = ServiceConfig::new("http://localhost:8080/v1", "").with_api_key(Some(Secret::new("sk-1")));
/// let models = Models::new().with_service("house", Protocol::OpenAi, house);
/// assert_eq!(models.choose("house:tiny")?.info().name, "tiny");
/// assert_eq!(models.choose("extractive")?.info().is_language_model, false);
/// assert_eq!(models.choose("openai:gpt-4.1-mini").unwrap_err().code(), "model_not_configured");
/// # Ok::<(), operone_core::Error>(())
/// ```
#[derive(Default)]
pub struct Models {
    services: BTreeMap<String, (Protocol, ServiceConfig)>,
    prices: BTreeMap<String, Price>,
    layers: Option<Layers>,
    ready: Mutex<HashMap<String, Arc<dyn LanguageModel>>>,
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models")
            .field("services", &self.services)
            .field("prices", &self.prices)
            .finish_non_exhaustive()
    }
}

impl Clone for Models {
    /// The clone makes its models anew.
    fn clone(&self) -> Self {
        let (services, prices, layers) = (self.services.clone(), self.prices.clone(), self.layers.clone());
        Self { services, prices, layers, ready: Mutex::default() }
    }
}

/// A service that is known by name.
struct Known {
    name: &'static str,
    protocol: Protocol,
    key: &'static str,
    /// The variable that names another address.
    address: &'static str,
    default: Option<&'static str>,
    /// What is put after an address that has no path.
    path: &'static str,
    unsupported: &'static [ModelOption],
}

const KNOWN: [Known; 8] = [
    Known {
        name: "anthropic",
        protocol: Protocol::Anthropic,
        key: "ANTHROPIC_API_KEY",
        address: "ANTHROPIC_BASE_URL",
        default: Some("https://api.anthropic.com/v1"),
        path: "/v1",
        unsupported: &[],
    },
    Known {
        name: "azure",
        protocol: Protocol::OpenAi,
        key: "AZURE_OPENAI_API_KEY",
        address: "AZURE_OPENAI_ENDPOINT",
        default: None,
        path: "/openai/v1",
        unsupported: &[],
    },
    Known {
        name: "deepseek",
        protocol: Protocol::OpenAi,
        key: "DEEPSEEK_API_KEY",
        address: "DEEPSEEK_BASE_URL",
        default: Some("https://api.deepseek.com/v1"),
        path: "/v1",
        unsupported: &[ModelOption::ResponseSchema, ModelOption::Seed, ModelOption::Reasoning],
    },
    Known {
        name: "groq",
        protocol: Protocol::OpenAi,
        key: "GROQ_API_KEY",
        address: "GROQ_BASE_URL",
        default: Some("https://api.groq.com/openai/v1"),
        path: "/openai/v1",
        unsupported: &[],
    },
    Known {
        name: "mistral",
        protocol: Protocol::OpenAi,
        key: "MISTRAL_API_KEY",
        address: "MISTRAL_BASE_URL",
        default: Some("https://api.mistral.ai/v1"),
        path: "/v1",
        unsupported: &[ModelOption::Reasoning],
    },
    Known {
        name: OLLAMA,
        protocol: Protocol::OpenAi,
        key: "OLLAMA_API_KEY",
        address: "OLLAMA_HOST",
        default: Some("http://localhost:11434/v1"),
        path: "/v1",
        // Its documentation lists the option as not there.
        unsupported: &[ModelOption::ToolChoice],
    },
    Known {
        name: OPENAI,
        protocol: Protocol::OpenAi,
        key: "OPENAI_API_KEY",
        address: "OPENAI_BASE_URL",
        default: Some("https://api.openai.com/v1"),
        path: "/v1",
        unsupported: &[],
    },
    Known {
        name: "openrouter",
        protocol: Protocol::OpenAi,
        key: "OPENROUTER_API_KEY",
        address: "OPENROUTER_BASE_URL",
        default: Some("https://openrouter.ai/api/v1"),
        path: "/api/v1",
        unsupported: &[],
    },
];

/// Needs no key, and is there without one.
const OLLAMA: &str = "ollama";
/// The service that any other one can stand in for.
const OPENAI: &str = "openai";

impl Models {
    /// The extractive model only.
    pub fn new() -> Self {
        Self::default()
    }

    /// The services that the process's environment names: see [`Models::from_variables`].
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The services that variables name, each by its key or its address: `OPENAI_API_KEY` or `OPENAI_BASE_URL`,
    /// `ANTHROPIC_API_KEY` or `ANTHROPIC_BASE_URL`, `AZURE_OPENAI_API_KEY` with `AZURE_OPENAI_ENDPOINT`, and in the same
    /// way `DEEPSEEK`, `GROQ`, `MISTRAL` and `OPENROUTER`. Ollama is there in any case, at `OLLAMA_HOST` or on this
    /// machine. An empty variable counts as unset.
    ///
    /// Errors: `Invalid` with code `model_not_configured` for Azure's key without its endpoint.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let mut models = Self::new();
        for known in KNOWN {
            let (key, address) = (variable(known.key), variable(known.address));
            if key.is_none() && address.is_none() && known.name != OLLAMA {
                continue;
            }
            let is_elsewhere = known.name == OPENAI && address.is_some();
            let address = match (address, known.default) {
                (Some(address), _) => with_path(&address, known.path),
                (None, Some(default)) => default.to_owned(),
                (None, None) => return Err(not_configured(known.name, known.address)),
            };
            let provider = if is_elsewhere { "openai-compatible" } else { known.name };
            let key = key.map(Secret::new);
            let config = ServiceConfig::new(address, "").with_provider(provider);
            let config = config.with_unsupported(known.unsupported.iter().copied());
            let config = match (known.name, key) {
                ("azure", Some(key)) => config.with_header("api-key", key),
                (_, key) => config.with_api_key(key),
            };
            models.services.insert(known.name.to_owned(), (known.protocol, config));
        }
        Ok(models)
    }

    /// Adds a service, or replaces the one of this name. Its `model` is that of the choice.
    #[must_use]
    pub fn with_service(
        mut self,
        name: impl Into<String>,
        protocol: Protocol,
        config: ServiceConfig,
    ) -> Self {
        self.services.insert(name.into(), (protocol, config));
        self
    }

    /// Sets what the tokens of a choice cost, for instance those of `openai:gpt-4.1-mini`.
    #[must_use]
    pub fn with_price(mut self, choice: impl Into<String>, price: Price) -> Self {
        self.prices.insert(choice.into(), price);
        self
    }

    /// Puts layers around every model that is chosen and asks a service, and around the layers that were set before.
    #[must_use]
    pub fn with_layers(mut self, layers: Layers) -> Self {
        self.layers = Some(match self.layers.take() {
            Some(within) => Arc::new(move |model| layers(within(model))),
            None => layers,
        });
        // What is ready has the layers of before.
        self.ready = Mutex::default();
        self
    }

    /// The names of the services, in alphabetical order.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }

    /// The language model of this name.
    ///
    /// Errors: `Invalid` with code `unknown_model` for a name that is none or whose service nobody knows,
    /// `model_not_configured` for a service without its key, and those of [`OpenAiCompatible::new`].
    pub fn choose(&self, choice: &str) -> Result<Arc<dyn LanguageModel>> {
        if choice == EXTRACTIVE {
            return Ok(Arc::new(ExtractiveModel));
        }
        if let Some(model) = self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(choice) {
            return Ok(Arc::clone(model));
        }
        let (_, protocol, config) = self.service(choice)?;
        let config = config.with_price(self.prices.get(choice).copied());
        let model: Arc<dyn LanguageModel> = match protocol {
            Protocol::OpenAi => Arc::new(OpenAiCompatible::new(config)?),
            Protocol::Anthropic => Arc::new(Anthropic::new(config)?),
        };
        let model =
            self.layers.as_ref().map_or_else(|| Arc::clone(&model), |layers| layers(Arc::clone(&model)));
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.len() >= MAX_READY {
            ready.clear();
        }
        Ok(Arc::clone(ready.entry(choice.to_owned()).or_insert(model)))
    }

    /// An embedder of this name. Asks the service for one vector.
    ///
    /// Errors: those of [`Models::choose`] and of [`OpenAiCompatibleEmbedder::connect`]; `Invalid` with code
    /// `unknown_model` for a service that has no vectors.
    pub async fn embedder(&self, choice: &str) -> Result<OpenAiCompatibleEmbedder> {
        let (service, protocol, config) = self.service(choice)?;
        if protocol != Protocol::OpenAi {
            let detail = format!("'{service}' offers no embeddings: choose another service");
            return Err(Error::invalid(detail).with_code("unknown_model"));
        }
        OpenAiCompatibleEmbedder::connect(config).await
    }

    /// The service that a choice names, asked for its model.
    fn service(&self, choice: &str) -> Result<(String, Protocol, ServiceConfig)> {
        let (service, model) = choice.split_once(':').unwrap_or((choice, ""));
        let Some((protocol, config)) = self.services.get(service).filter(|_| !model.is_empty()) else {
            return Err(match KNOWN.iter().find(|known| known.name == service) {
                Some(known) if !model.is_empty() => not_configured(known.name, known.key),
                _ => self.unknown(choice),
            });
        };
        let mut config = config.clone();
        config.model = model.to_owned();
        Ok((service.to_owned(), *protocol, config))
    }

    fn unknown(&self, choice: &str) -> Error {
        let mut names = vec![EXTRACTIVE.to_owned()];
        names.extend(self.services().map(|service| format!("{service}:MODEL")));
        let detail = format!("there is no model '{choice}'; there are: {}", names.join(", "));
        Error::invalid(detail).with_code("unknown_model")
    }
}

fn not_configured(service: &str, variable: &str) -> Error {
    let detail = format!("the model service '{service}' is not configured: set {variable}");
    Error::invalid(detail).with_code("model_not_configured")
}

/// The address with a scheme and a path, where it has none: services and their own clients differ in whether the path
/// belongs to the variable.
fn with_path(address: &str, path: &str) -> String {
    let address = address.trim().trim_end_matches('/');
    let address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let has_path = address.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?']));
    if has_path { address } else { address + path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Models> {
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        Models::from_variables(|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn the_environment_names_services() {
        let models = from(&[
            ("OPENAI_API_KEY", "sk-secret"),
            ("ANTHROPIC_BASE_URL", "https://proxy.example/"),
            ("ANTHROPIC_API_KEY", "sk-ant"),
            ("OLLAMA_HOST", "gpu.local:11434"),
            ("AZURE_OPENAI_API_KEY", "az-secret"),
            ("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com"),
            ("GROQ_API_KEY", " "),
        ]);
        let models = models.unwrap();
        assert_eq!(models.services().collect::<Vec<_>>(), ["anthropic", "azure", "ollama", "openai"]);
        let address = |name: &str| models.services[name].1.base_url.as_str();
        assert_eq!(address("anthropic"), "https://proxy.example/v1");
        assert_eq!(address("azure"), "https://mine.openai.azure.com/openai/v1");
        assert_eq!(address("ollama"), "http://gpu.local:11434/v1");
        assert_eq!(address("openai"), "https://api.openai.com/v1");
        assert!(!format!("{models:?}").contains("secret"));
        for (choice, provider, name) in [
            ("openai:gpt-x", "openai", "gpt-x"),
            ("anthropic:claude-x", "anthropic", "claude-x"),
            ("ollama:qwen3:8b", "ollama", "qwen3:8b"),
            ("extractive", "operone", "extractive"),
        ] {
            let info = models.choose(choice).unwrap().info();
            assert_eq!((info.provider.as_str(), info.name.as_str()), (provider, name), "{choice}");
        }
        let other = from(&[("OPENAI_BASE_URL", "http://localhost:8080/v1")]).unwrap();
        assert_eq!(other.choose("openai:tiny").unwrap().info().provider, "openai-compatible");
    }

    #[test]
    fn a_name_that_is_none_says_what_there_is() {
        let models = from(&[]).unwrap();
        for (choice, code, told) in [
            ("anthropic:claude-x", "model_not_configured", "set ANTHROPIC_API_KEY"),
            ("gpt-x", "unknown_model", "extractive, ollama:MODEL"),
            ("openai", "unknown_model", "extractive"),
            ("ollama:", "unknown_model", "extractive"),
            ("", "unknown_model", "extractive"),
        ] {
            let error = models.choose(choice).unwrap_err();
            assert_eq!(error.code(), code, "{choice}");
            assert!(error.message().contains(told), "{error}");
        }
        let half = from(&[("AZURE_OPENAI_API_KEY", "k")]).unwrap_err();
        assert!(half.message().contains("set AZURE_OPENAI_ENDPOINT"), "{half}");
    }

    #[test]
    fn a_choice_keeps_its_state_and_its_price() {
        let price = Price::new(1, 2);
        let layered = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&layered);
        let models = from(&[]).unwrap().with_price("ollama:a", price).with_layers(Arc::new(move |model| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            model
        }));
        let (first, again) = (models.choose("ollama:a").unwrap(), models.choose("ollama:a").unwrap());
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(
            (first.info().price, models.choose("ollama:b").unwrap().info().price),
            (Some(price), None)
        );
        assert_eq!(layered.load(std::sync::atomic::Ordering::Relaxed), 2);
        for number in 0..1000 {
            models.choose(&format!("ollama:{number}")).unwrap();
        }
        assert!(models.ready.lock().unwrap().len() <= MAX_READY);
    }
}
