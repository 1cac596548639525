//! Language models and embedders over HTTP for Operone.
//!
//! - [`OpenAiCompatible`] speaks the chat completions protocol that OpenAI, llama.cpp, vLLM, Ollama and many others
//!   offer, [`OpenAiCompatibleEmbedder`] that of embeddings.
//! - [`Anthropic`] speaks Anthropic's Messages protocol.
//! - `GenAiModel`, with the feature `genai`, asks whatever the crate of that name reaches.
//! - [`Models`] chooses among them at run time, by names such as `openai:gpt-4.1-mini`.
//!
//! All bring their own TLS settings (rustls with ring, the roots of the operating system) and install nothing for the
//! whole process. They follow no redirects and use no proxy, whatever the environment says.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod anthropic;
mod calls;
mod config;
mod embedder;
mod error;
#[cfg(feature = "genai")]
mod genai;
mod hint;
mod http;
mod models;
mod openai;
mod promise;
mod reading;
mod service;
mod sse;
mod template;
mod tool_names;

pub use anthropic::Anthropic;
pub use config::{Secret, ServiceConfig};
pub use embedder::OpenAiCompatibleEmbedder;
#[cfg(feature = "genai")]
pub use genai::GenAiModel;
pub use models::{Layers, Models, Protocol};
pub use openai::OpenAiCompatible;
