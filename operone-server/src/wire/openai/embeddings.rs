//! Texts to embed, and their vectors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{changes_nothing, unsupported};
use crate::error::{ApiError, ApiResult, FieldError};

/// Texts to embed.
#[derive(Debug, Deserialize)]
pub(crate) struct EmbeddingRequest {
    pub(crate) model: String,
    input: Value,
    encoding_format: Option<EncodingFormat>,
    dimensions: Option<usize>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// How the numbers of a vector are written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EncodingFormat {
    #[default]
    Float,
    /// 32-bit floats, lowest byte first.
    Base64,
}

impl EmbeddingRequest {
    /// The texts, for an embedder of this dimension.
    pub(crate) fn into_texts(self, dimension: usize) -> ApiResult<(Vec<String>, EncodingFormat)> {
        if let Some((name, _)) = self.rest.iter().find(|(name, value)| !changes_nothing(name, value)) {
            return Err(unsupported(format!("/{name}"), "this cannot be honoured here: leave it out"));
        }
        if self.dimensions.is_some_and(|asked| asked != dimension) {
            let detail = format!("this model's vectors have {dimension} dimensions and cannot be cut");
            return Err(unsupported("/dimensions".into(), &detail));
        }
        let texts = match self.input {
            Value::String(text) => vec![text],
            several => serde_json::from_value::<Vec<String>>(several).map_err(|_| {
                unsupported(
                    "/input".into(),
                    "it is a text or a list of texts here; tokens are not understood",
                )
            })?,
        };
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            let fault = FieldError::new("/input", "there must be a text, and none may be empty");
            return Err(ApiError::invalid(vec![fault]));
        }
        Ok((texts, self.encoding_format.unwrap_or_default()))
    }
}

/// The vectors of a request in its order.
pub(crate) fn embeddings_body(
    model: &str,
    vectors: &[Vec<f32>],
    tokens: usize,
    format: EncodingFormat,
) -> Value {
    let written = |vector: &Vec<f32>| match format {
        EncodingFormat::Float => json!(vector),
        EncodingFormat::Base64 => {
            let bytes: Vec<[u8; 4]> = vector.iter().map(|number| number.to_le_bytes()).collect();
            Value::String(STANDARD.encode(bytes.as_flattened()))
        }
    };
    let data: Vec<Value> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": written(vector)}))
        .collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    json!({"object": "list", "data": data, "model": model, "usage": usage})
}
