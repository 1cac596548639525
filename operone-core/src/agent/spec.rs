//! What an agent is told when it is created.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::budget::Budget;
use super::policy::ApprovalPolicy;
use crate::error::{Error, Result};
use crate::model::ModelSettings;

/// The model turns of a run that names no limit.
pub const DEFAULT_MAX_STEPS: u32 = 50;
/// The most model turns a run may ask for.
pub const MAX_STEPS_LIMIT: u32 = 1000;

/// What an agent is to do and what it may use. Stored with the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentSpec {
    /// What to do, in words.
    pub goal: String,
    /// What the agent is told before every conversation: who it is, how it works, how it answers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// How its model answers.
    #[serde(default, skip_serializing_if = "ModelSettings::is_default")]
    pub settings: ModelSettings,
    /// The JSON schema that the final answer must fit; plain text where absent. An answer that does not fit is
    /// returned to the model with what is wrong, [`OUTPUT_RETRIES`](super::OUTPUT_RETRIES) times at most; after that
    /// the run fails with code `output_mismatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// What it may use, for instance `rag`; nothing is granted that is not named.
    pub capabilities: Vec<String>,
    /// The most model turns of one run.
    pub max_steps: u32,
    /// Limits of the process that runs it; none are needed where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The most that one run may use.
    #[serde(default)]
    pub budget: Budget,
    /// Which of its calls wait for a person.
    #[serde(default)]
    pub approval: ApprovalPolicy,
    /// The sub-agents it may give tasks to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<SubagentSpec>,
    /// The model it thinks with, by a name that the host knows; the host's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// An agent that another one may give tasks to, as the tool `agent.<name>`. Stored with that agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SubagentSpec {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// What it is good for: the model that gives the tasks reads this.
    pub description: String,
    /// What it is told besides the task.
    #[serde(default)]
    pub instructions: String,
    /// What it may use: some of what the agent above it may.
    pub capabilities: Vec<String>,
    /// The most model turns for one task; they count as turns of the run as well.
    #[serde(default = "default_max_steps")]
    pub max_steps: u32,
    /// The model it thinks with; that of the agent above it where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

fn default_max_steps() -> u32 {
    DEFAULT_MAX_STEPS
}

impl SubagentSpec {
    /// A sub-agent without instructions of its own.
    pub fn new(name: impl Into<String>, description: impl Into<String>, capabilities: Vec<String>) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
            instructions: String::new(),
            capabilities,
            max_steps: DEFAULT_MAX_STEPS,
            model: None,
        }
    }
}

impl AgentSpec {
    /// The longest goal, in bytes.
    pub const MAX_GOAL: usize = 64 * 1024;
    /// The longest instructions, in bytes.
    pub const MAX_INSTRUCTIONS: usize = 64 * 1024;

    /// An agent with a goal and nothing else.
    pub fn new(goal: impl Into<String>, capabilities: Vec<String>) -> Self {
        Self {
            goal: goal.into(),
            instructions: String::new(),
            settings: ModelSettings::default(),
            output_schema: None,
            capabilities,
            max_steps: DEFAULT_MAX_STEPS,
            resources: None,
            budget: Budget::default(),
            approval: ApprovalPolicy::default(),
            agents: Vec::new(),
            model: None,
        }
    }

    /// Reads a spec as it is stored with an agent and with its runs.
    pub fn from_stored(spec: &Value) -> Result<Self> {
        Self::deserialize(spec)
            .map_err(|error| Error::internal("the agent's stored spec cannot be read").with_source(error))
    }

    /// Whether the capability is granted.
    pub fn grants(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|granted| granted == capability)
    }
}

/// Limits of the process that runs an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Resources {
    /// Processor cores, for instance `1` or `0.5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Memory, for instance `512MB` (512×10⁶ bytes) or `512MiB` (512×2²⁰ bytes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ram: Option<String>,
}

impl Resources {
    /// The memory limit in bytes. A number without a unit, zero, or an unknown unit is `Invalid`.
    pub fn ram_bytes(&self) -> Result<Option<u64>> {
        self.ram.as_deref().map(parse_bytes).transpose()
    }

    /// The processor limit in thousandths of a core.
    pub fn cpu_millicores(&self) -> Result<Option<u32>> {
        self.cpu.as_deref().map(parse_millicores).transpose()
    }
}

fn parse_bytes(text: &str) -> Result<u64> {
    let wrong = || {
        Error::invalid(format!(
            "'{text}' is no amount of memory: write a whole number and KB, MB, GB, KiB, MiB or GiB"
        ))
        .with_code("invalid_resources")
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text.get(digits.len()..).unwrap_or_default() {
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)?;
    if bytes == 0 { Err(wrong()) } else { Ok(bytes) }
}

fn parse_millicores(text: &str) -> Result<u32> {
    let wrong = || {
        Error::invalid(format!("'{text}' is no number of cores: write 1, 2 or 0.5, for instance"))
            .with_code("invalid_resources")
    };
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let cores: f64 = text.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    let millicores = (cores * 1000.0).round();
    if (1.0..=1_024_000.0).contains(&millicores) { Ok(millicores as u32) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_strictly() {
        for (text, bytes) in
            [("512MB", 512_000_000), ("512MiB", 512 << 20), ("1GB", 1_000_000_000), ("4KiB", 4096)]
        {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
        for wrong in
            ["", "512", "MB", "0MB", "-1MB", "+1MB", "1e9GB", "1.5GB", "512mb", "99999999999GiB", " 1MB"]
        {
            assert_eq!(parse_bytes(wrong).unwrap_err().code(), "invalid_resources", "{wrong}");
        }
    }

    #[test]
    fn cores_are_read_strictly() {
        for (text, millicores) in [("1", 1000), ("0.5", 500), ("16", 16_000)] {
            assert_eq!(parse_millicores(text).unwrap(), millicores, "{text}");
        }
        for wrong in ["", "0", "-1", "1e3", "one", "inf", "NaN", "0.0001", "."] {
            assert_eq!(parse_millicores(wrong).unwrap_err().code(), "invalid_resources", "{wrong}");
        }
    }
}
