//! Asks a model that the command line names, with a second one to fall back on, and prints the answer as it comes.
//!
//! ```console
//! cargo run -p operone-examples --example choose_model -- extractive "What is a lease?"
//! OPENAI_API_KEY=… cargo run -p operone-examples --example choose_model -- openai:gpt-4.1-mini "What is a lease?"
//! ```

use std::io::Write;
use std::sync::Arc;

use futures_util::StreamExt;
use operone_core::Result;
use operone_core::model::layers::{Fallback, Retry};
use operone_core::model::{LanguageModel, Message, ModelEvent, ModelRequest};
use operone_models::Models;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "extractive".into());
    let question = arguments.next().unwrap_or_else(|| "What is a lease?".into());

    let models = Models::from_env()?;
    let chosen: Arc<dyn LanguageModel> = Arc::new(Retry::new(models.choose(&name)?));
    let model = Fallback::new(chosen).or(models.choose("extractive")?);

    let mut answer = model.stream(ModelRequest::new(vec![Message::user(question)])).await?;
    while let Some(event) = answer.next().await {
        match event? {
            ModelEvent::Text(text) => print!("{text}"),
            ModelEvent::Done(finish) => println!("\n({:?}, {:?})", finish.reason, finish.usage),
            _ => {}
        }
        // A closed pipe ends the program elsewhere.
        let _ = std::io::stdout().flush();
    }
    Ok(())
}
