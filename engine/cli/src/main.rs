//! `baton`: the command line, which knows a running engine only by its API.

mod args;
mod audit;
mod backtest;
mod chart;
mod client;
mod definitions;
mod dev;
mod diagram;
mod doctor;
mod error;
mod events;
mod finding;
mod follow;
mod functions;
mod inbox;
mod input;
mod instances;
mod judged;
mod kill;
mod lint;
mod once;
mod output;
mod policy;
mod progress;
mod publish;
mod sarif;
mod scenario;
mod sets;
mod shape;
mod start;
mod timeline;
mod times;
mod watch;

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _};

use crate::{
    args::{Arguments, Command, EventCommand},
    client::{Caller, Client},
    error::{Error, Outcome},
    instances::Change,
    output::{Output, Paint, Tone},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let json = Output::new(&arguments.common).is_json();
    let color = io::stderr().is_terminal() && !arguments.common.no_color;
    match run(arguments).await {
        Ok(outcome) => outcome.status().into(),
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error, json, Paint { color });
            error.status().into()
        }
    }
}

async fn run(arguments: Arguments) -> Result<Outcome, Error> {
    let output = Output::new(&arguments.common);
    if !arguments.command.writes(output.format) {
        let message = "sarif is an output of `lint` alone, and junit of `test`".into();
        return Err(Error::Usage(message));
    }
    // What needs no engine must not mind a wrong address.
    let common = &arguments.common;
    let client = || {
        let caller = Caller::new(common.token.as_deref(), common.person.as_deref())?;
        Client::new(&common.url, caller)
    };
    match arguments.command {
        Command::Dev(dev) => dev::dev(&dev, &output).await,
        Command::Deploy { files } => definitions::deploy(&client()?, &files, &output).await,
        Command::Lint { files, engine, production, catalog } => {
            let engine = engine.then(client).transpose()?;
            lint::lint(&files, engine.as_ref(), production, &catalog, &output).await
        }
        Command::Test { files, catalog } => scenario::test(&files, &catalog, &output),
        Command::Diagram { file, short, catalog } => {
            diagram::diagram(&file, short, &catalog, &output)
        }
        Command::Policy { command } => policy::policy(&command, client, &output).await,
        Command::Audit { command } => audit::audit(&command, client, &output).await,
        Command::Inbox { group, limit } => inbox::list(&client()?, &group, limit, &output).await,
        Command::Approve(answer) => inbox::answer(&client()?, &answer, true, &output).await,
        Command::Deny(answer) => inbox::answer(&client()?, &answer, false, &output).await,
        Command::Claim(about) => inbox::claim(&client()?, &about, false, &output).await,
        Command::Release(about) => inbox::claim(&client()?, &about, true, &output).await,
        Command::Kill { scope, reason, drill } => {
            kill::kill(&client()?, &scope, &reason, drill, &output).await
        }
        Command::Rearm { number, reason } => {
            kill::rearm(&client()?, number, &reason, &output).await
        }
        Command::Once { command } => once::once(&client()?, command, &output).await,
        Command::Switches { all } => kill::list(&client()?, all, &output).await,
        Command::Functions { command } => functions::functions(&client()?, command, &output).await,
        Command::Definitions { which } => definitions::show(&client()?, which, &output).await,
        Command::Start(start) => start::start(&client()?, start, &output).await,
        Command::List(list) => instances::list(&client()?, list, &output).await,
        Command::Show { id, jaeger_url } => {
            instances::show(&client()?, id, jaeger_url.as_deref(), &output).await
        }
        Command::History { id } => instances::history(&client()?, id, &output).await,
        Command::Watch { id, after } => watch::watch(&client()?, id, after, &output).await,
        Command::Cancel(reasoned) => {
            instances::change(&client()?, Change::Cancel(reasoned), &output).await
        }
        Command::Terminate(reasoned) => {
            instances::change(&client()?, Change::Terminate(reasoned), &output).await
        }
        Command::Suspend(reasoned) => {
            instances::change(&client()?, Change::Suspend(reasoned), &output).await
        }
        Command::Resume { id } => {
            instances::change(&client()?, Change::Resume { id }, &output).await
        }
        Command::Rerun { id, from } => {
            instances::change(&client()?, Change::Rerun { id, task: from }, &output).await
        }
        Command::Event(EventCommand::Publish { file, department }) => {
            publish::publish(&client()?, &file, &department, &output).await
        }
        Command::Doctor { production } => doctor::doctor(&client()?, production, &output).await,
        Command::Completion { shell } => {
            // Into memory first: the generator takes a closed pipe badly.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "baton", &mut script);
            io::stdout().lock().write_all(&script)?;
            Ok(Outcome::Well)
        }
    }
}

/// Help goes out as it is; a line that cannot be understood is status 1, for 2 is the engine's refusal.
fn usage(error: &clap::Error) -> ExitCode {
    let is_help = !error.use_stderr();
    if !is_help && Arguments::want_json(std::env::args()) {
        complain(&Error::Usage(error.to_string().trim().to_owned()), true, Paint { color: false });
    } else {
        // Nobody is left to tell when this fails.
        let _ = error.print();
    }
    if is_help { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn complain(error: &Error, json: bool, paint: Paint) {
    let mut out = io::stderr().lock();
    // Nobody is left to tell when this fails.
    let _ = if json {
        writeln!(out, "{}", error.json())
    } else {
        let mut message = error.to_string();
        if let Error::RefusedWorkflow { lines, .. } | Error::InvalidWorkflow { lines, .. } = error {
            let _ = lines.iter().try_for_each(|line| writeln!(out, "{line}"));
        }
        if let Error::RefusedWorkflow { file, lines, .. } = error
            && !lines.is_empty()
        {
            // The lines say it all, and the engine's own message would say it again.
            message = format!("{file} was refused");
        }
        // Only what the engine says has codes that are explained in its pages.
        let code = if error.status() == 2 { format!(" ({})", error.code()) } else { String::new() };
        writeln!(
            out,
            "{} {message}{}",
            paint.apply(Tone::Bad, "error:"),
            paint.apply(Tone::Dim, &code)
        )
    };
}
