//! What a worker offers: functions, each with its handler.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use baton_proto::v1;
use futures::{FutureExt, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Context, Failure, Outcome,
    secrets::{Revealed, Secrets},
};

/// What a function does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes something that can be changed back.
    Write,
    /// Cannot be undone: money has moved, a letter is in the post.
    Irreversible,
}

/// What the engine and people are told of a function.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Without the department: letters, digits, `-` and `_`.
    pub name: String,
    /// JSON Schema of the arguments; none: anything.
    pub input_schema: Option<serde_json::Value>,
    /// JSON Schema of the output; none: anything.
    pub output_schema: Option<serde_json::Value>,
    /// None: unknown.
    pub effect: Option<Effect>,
    /// Who answers for it; may be empty.
    pub owner: String,
    /// Handlers that run at once; none: as the worker's options say.
    pub concurrency: Option<usize>,
}

impl Offer {
    /// A function of which nothing but the name is known.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            input_schema: None,
            output_schema: None,
            effect: None,
            owner: String::new(),
            concurrency: None,
        }
    }

    pub(crate) fn to_wire(&self) -> v1::FunctionOffer {
        let schema = |schema: &Option<serde_json::Value>| {
            schema.as_ref().map_or_else(String::new, ToString::to_string)
        };
        let effect = match self.effect {
            None => "",
            Some(Effect::Read) => "read",
            Some(Effect::Write) => "write",
            Some(Effect::Irreversible) => "irreversible",
        };
        v1::FunctionOffer {
            name: self.name.clone(),
            input_schema: schema(&self.input_schema),
            output_schema: schema(&self.output_schema),
            effect: effect.into(),
            owner: self.owner.clone(),
        }
    }
}

/// JSON in, JSON out.
type Handler = dyn Fn(Context, &[u8]) -> BoxFuture<'static, Outcome<Vec<u8>>> + Send + Sync;

/// A function and its handler.
#[derive(Clone)]
pub(crate) struct Function {
    pub(crate) offer: Offer,
    handler: Arc<Handler>,
}

impl Function {
    pub(crate) fn new<I, O, F, Fut>(offer: Offer, handler: F) -> Self
    where
        I: DeserializeOwned,
        O: Serialize,
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome<O>> + Send + 'static,
    {
        let handler: Arc<Handler> = Arc::new(move |context, input| {
            let input: I = match serde_json::from_slice(input) {
                Ok(input) => input,
                Err(error) => return std::future::ready(Err(Failure::validation(error))).boxed(),
            };
            handler(context, input)
                .map(|outcome| {
                    let output = outcome?;
                    serde_json::to_vec(&output).map_err(|error| {
                        Failure::output_too_large(format_args!(
                            "the output cannot be written as JSON: {error}"
                        ))
                    })
                })
                .boxed()
        });
        Self { offer, handler }
    }

    /// Puts the secrets in and runs the handler. A panic becomes a retryable failure, so that the worker lives on.
    pub(crate) async fn call(
        &self,
        secrets: &Secrets,
        context: Context,
        input: Vec<u8>,
        output_bytes_max: usize,
    ) -> Outcome<Vec<u8>> {
        let revealed = Revealed::find(secrets, &context.command().secrets).await?;
        let revealed = context.reveal(revealed);
        let input = revealed.put_into(input)?;
        let run = async { (self.handler)(context.clone(), &input).await };
        let outcome = match AssertUnwindSafe(run).catch_unwind().await {
            Ok(outcome) => outcome,
            Err(panic) => Err(Failure::panicked(panic_message(panic.as_ref()))),
        };
        let output = revealed.scrub_outcome(outcome)?;
        if output.len() > output_bytes_max {
            let detail = format!(
                "the output has {} bytes, at most {output_bytes_max} can be given back",
                output.len()
            );
            return Err(Failure::output_too_large(detail));
        }
        Ok(output)
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
