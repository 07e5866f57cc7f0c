//! The workers that come with Baton: they do what a workflow's `call: http`, `openapi` and `grpc`, and its `run: shell`,
//! `script` and `container` ask for.

mod answer;
mod auth;
mod cache;
mod client;
mod container;
mod document;
mod exchange;
mod fault;
mod grpc;
mod guard;
mod hosts;
mod http;
mod input;
mod limits;
mod oauth2;
mod openapi;
mod process;
mod resolve;
mod run;
mod script;
mod settings;
mod shell;
mod time;

use std::sync::Arc;

use baton_worker::{Context, Offer, Options, Worker};
use serde_json::Value;

use crate::{
    client::Client, document::Documents, grpc::Channels, limits::PROCESSES_MAX, oauth2::Tokens,
    run::Machine,
};
pub use crate::{
    guard::Lookup,
    hosts::{Hosts, Pattern},
    resolve::Resolve,
    settings::{Function, GrpcTls, Processes, Settings},
};

/// Why a standard worker cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the HTTP client cannot be set up: it needs the certificates of the system, or SSL_CERT_FILE"
    )]
    Client(#[from] reqwest::Error),
    #[error("at least one function must be served")]
    Nothing,
}

/// What the calls to services share.
struct Net {
    client: Client,
    tokens: Tokens,
    documents: Documents,
    channels: Channels,
    settings: Settings,
}

/// A worker of a department that serves what the settings name.
///
/// # Errors
///
/// When the settings name no function, or the system's certificates cannot be read.
pub fn worker(department: &str, options: Options, settings: Settings) -> Result<Worker, Error> {
    if settings.serve.is_empty() {
        return Err(Error::Nothing);
    }
    let net = Arc::new(Net {
        client: Client::new(&settings)?,
        tokens: Tokens::default(),
        documents: Documents::default(),
        channels: Channels::default(),
        settings: settings.clone(),
    });
    let machine = Arc::new(Machine::new(settings.processes.clone()));
    let mut worker = Worker::new(department).with_options(options);
    for function in settings.serve {
        let (net, machine) = (net.clone(), machine.clone());
        let offer = Offer::new(function.name());
        let process = Offer { concurrency: Some(PROCESSES_MAX), ..offer.clone() };
        worker = match function {
            Function::Http => worker.function_with(offer, move |context: Context, input| {
                http::call(net.clone(), context, input)
            }),
            Function::Openapi => worker.function_with(offer, move |context: Context, input| {
                openapi::call(net.clone(), context, input)
            }),
            Function::Grpc => worker.function_with(offer, move |context: Context, input| {
                grpc::call(net.clone(), context, input)
            }),
            Function::Shell => worker.function_with(process, move |context, input: Value| {
                shell::run(machine.clone(), context, input)
            }),
            Function::Script => worker.function_with(process, move |context, input: Value| {
                script::run(net.clone(), machine.clone(), context, input)
            }),
            Function::Container => worker.function_with(process, move |context, input: Value| {
                container::run(machine.clone(), context, input)
            }),
        };
    }
    Ok(worker)
}
