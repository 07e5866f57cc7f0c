//! `baton-standard`: reads the settings, says what it lets workflows do, and serves.

mod args;

use std::io::IsTerminal as _;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::args::Arguments;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("BATON_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,async_nats=warn"));
    // What these write at debug and trace may hold URLs and headers, and so secrets.
    let quiet = ["h2", "hyper", "hyper_util", "reqwest", "rustls", "tonic"];
    let filter = quiet.iter().try_fold(filter, |filter, name| {
        Ok::<_, anyhow::Error>(filter.add_directive(format!("{name}=info").parse()?))
    })?;
    let stderr = std::io::stderr;
    let ansi = stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(ansi).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let (department, options, settings) = arguments.into_settings();
    for function in settings.serve.iter().filter(|function| function.runs_programs()) {
        tracing::warn!(
            function = function.name(),
            "WORKFLOWS MAY RUN PROGRAMS HERE: whoever may deploy a workflow that calls this function may do what this \
             process may"
        );
    }
    if settings.hosts.private {
        tracing::warn!("calls may reach loopback, private and link-local addresses");
    }
    Ok(baton_standard::worker(&department, options, settings)?.run().await?)
}
