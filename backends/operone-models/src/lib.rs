//! Language models and embedders over HTTP for Operone.
//!
//! [`OpenAiCompatible`] speaks the chat completions protocol that OpenAI, llama.cpp, vLLM, Ollama and many others
//! offer, [`OpenAiCompatibleEmbedder`] that of embeddings. Both bring their own TLS settings (rustls with ring, the roots of the operating system) and install
//! nothing for the whole process. They follow no redirects and use no proxy, whatever the environment says.

mod answer;
mod client;
mod config;
mod embedder;
mod error;
mod http;
mod reading;
mod retry;
mod sse;
mod tool_names;
mod wire;

pub use client::OpenAiCompatible;
pub use config::{OpenAiConfig, Secret};
pub use embedder::OpenAiCompatibleEmbedder;
