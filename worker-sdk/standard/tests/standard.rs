//! Stories of the standard worker against real services on this machine.

#![cfg(test)]

#[path = "standard/auth.rs"]
mod auth;
#[path = "standard/command.rs"]
mod command;
#[path = "standard/container.rs"]
mod container;
#[path = "standard/digest.rs"]
mod digest;
#[path = "standard/grpc.rs"]
mod grpc;
#[path = "standard/guard.rs"]
mod guard;
#[path = "standard/http.rs"]
mod http;
#[path = "standard/openapi.rs"]
mod openapi;
#[path = "standard/programs.rs"]
mod programs;
#[path = "standard/secrets.rs"]
mod secrets;
#[path = "standard/service.rs"]
mod service;

use baton_standard::{Function, Settings};
use baton_worker::{Failure, Options, Secrets, Worker, testing};
use serde_json::Value;

/// All functions, and only these hosts.
fn settings(hosts: &[&str]) -> Settings {
    let functions = [
        Function::Http,
        Function::Openapi,
        Function::Grpc,
        Function::Shell,
        Function::Script,
        Function::Container,
    ];
    let mut settings = Settings::new(functions);
    settings.hosts.patterns = hosts.iter().map(|host| host.parse().unwrap()).collect();
    settings
}

fn worker_with(settings: Settings) -> Worker {
    worker_with_secrets(settings, &[])
}

fn worker_with_secrets(settings: Settings, secrets: &[(&str, &str)]) -> Worker {
    let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let secrets = Secrets::Given(secrets.collect());
    let options = Options { secrets, ..Options::from_env().unwrap() };
    baton_standard::worker("finance", options, settings).unwrap()
}

fn worker(hosts: &[&str]) -> Worker {
    worker_with(settings(hosts))
}

async fn call(worker: &Worker, function: &str, input: Value) -> Value {
    testing::call(worker, function, &input).await.unwrap_or_else(|failure| panic!("{failure:?}"))
}

async fn failure(worker: &Worker, function: &str, input: Value) -> Failure {
    testing::call(worker, function, &input).await.expect_err("it should fail")
}

/// The last part of the type, the code, the status, and whether trying again may help.
fn told(failure: &Failure) -> (&str, &str, u32, bool) {
    let kind = failure.kind.rsplit('/').next().unwrap();
    (kind, &failure.title, failure.status, failure.retryable)
}
