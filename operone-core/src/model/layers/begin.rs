//! The begin of an answer, up to its first event.

use futures_util::StreamExt;

use super::watch::begun;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{LanguageModel, ModelRequest, ModelStream};

/// Asks, and waits for the first event: what goes wrong up to it is the error of the call, not of the stream.
pub(super) async fn begin(model: &dyn LanguageModel, request: ModelRequest) -> Result<ModelStream> {
    let mut answer = model.stream(request).await?;
    let first = answer.next().await.unwrap_or_else(|| {
        let nothing = "the model's answer was cut off before its first word";
        Err(Error::new(ErrorKind::Unavailable, nothing).with_code("model_cut_off"))
    })?;
    Ok(begun(first, answer))
}
