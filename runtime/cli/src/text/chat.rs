//! Chat templates: a conversation rendered as the text that the model was trained on.
//!
//! In: a Jinja template from a checkpoint and messages. Out: text that ends where the assistant's answer begins.
//! Source of the template's environment: Hugging Face `apply_chat_template` (block trimming, `raise_exception`, Python
//! methods of strings).

use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

use crate::error::Failure;

/// A checkpoint's chat template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    source: String,
    bos: String,
    eos: String,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

impl ChatTemplate {
    /// A template and the texts of the tokens that begin and end a sequence.
    pub fn new(source: impl Into<String>, bos: impl Into<String>, eos: impl Into<String>) -> Self {
        Self { source: source.into(), bos: bos.into(), eos: eos.into() }
    }

    /// The text of a conversation of one user message, up to the assistant's answer.
    ///
    /// # Errors
    /// A user error if the template is malformed or refuses.
    pub fn render(&self, prompt: &str) -> Result<String, Failure> {
        let failed = |error: Error| Failure::user(format!("the model's chat template fails: {error:#}"));
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        let template = environment.template_from_str(&self.source).map_err(failed)?;
        let rendered = template.render(context! {
            messages => [Message { role: "user", content: prompt }],
            add_generation_prompt => true,
            bos_token => self.bos,
            eos_token => self.eos,
        });
        rendered.map_err(failed)
    }
}
