//! Language models over HTTP for Operone.
//!
//! [`OpenAiCompatible`] speaks the chat completions protocol that OpenAI, llama.cpp, vLLM, Ollama and many others
//! offer. It brings its own TLS settings (rustls with ring, the roots of the operating system) and installs
//! nothing for the whole process. It follows no redirects and uses no proxy, whatever the environment says.

mod answer;
mod client;
mod config;
mod error;
mod http;
mod reading;
mod sse;
mod tool_names;
mod wire;

pub use client::OpenAiCompatible;
pub use config::{OpenAiConfig, Secret};
