//! `run: container`: an image, run by the machine's client for containers.

use std::{ffi::OsString, path::Path, sync::Arc};

use baton_worker::{Context, Outcome};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    fault::Fault,
    input::scalars,
    process::{Program, folder},
    run::{Common, Machine},
};

#[derive(Deserialize)]
struct Container {
    image: String,
    name: Option<String>,
    command: Option<String>,
    ports: Option<Map<String, Value>>,
    volumes: Option<Map<String, Value>>,
    lifetime: Option<Lifetime>,
    #[serde(rename = "pullPolicy")]
    pull_policy: Option<String>,
}

#[derive(Deserialize)]
struct Lifetime {
    cleanup: String,
}

pub(crate) async fn run(machine: Arc<Machine>, context: Context, input: Value) -> Outcome<Value> {
    let common = Common::read(&input)?;
    let container: Container =
        serde_json::from_value(input).map_err(|error| Fault::Input.because(error))?;
    let Some(client) = machine.settings.container_client.clone() else {
        return Err(Fault::ProgramMissing.because(
            "this machine has neither docker nor podman, or the worker was not told of it",
        ));
    };
    let name = container.name.clone().unwrap_or_else(|| usual_name(&context));
    let arguments = arguments(&machine, &container, &common, &name)?;
    // The client hands variables on by name, so that their values stand in no list of processes.
    let mut environment = machine.settings.container_environment.clone();
    environment.extend(common.environment()?);
    let program = Program {
        executable: client.clone().into_os_string(),
        arguments,
        environment,
        stdin: common.stdin(),
        folder: folder()?,
        output_bytes_max: machine.settings.output_bytes_max,
    };
    // The client's end is not the container's.
    let mut removal = Removal { machine: machine.clone(), client: client.into(), name: Some(name) };
    let output = machine.run(&context, &common, program).await;
    let is_kept = output.as_ref().err().is_none_or(|failure| failure.title == "program-failed");
    if is_kept {
        removal.name = None;
    }
    output
}

fn arguments(
    machine: &Machine,
    container: &Container,
    common: &Common,
    name: &str,
) -> Outcome<Vec<OsString>> {
    check("name", name)?;
    check("image", &container.image)?;
    let mut arguments: Vec<OsString> = vec!["run".into(), "--interactive".into()];
    let mut option = |name: &str, value: String| arguments.push(format!("--{name}={value}").into());
    option("name", name.to_owned());
    match container.lifetime.as_ref().map(|lifetime| lifetime.cleanup.as_str()) {
        None | Some("never") => {}
        Some("always") => option("rm", "true".to_owned()),
        Some(other) => {
            return Err(Fault::Unsupported.because(format_args!(
                "a cleanup {other:?} is not supported here, only always and never"
            )));
        }
    }
    match container.pull_policy.as_deref() {
        None | Some("ifNotPresent") => {}
        Some(policy @ ("always" | "never")) => option("pull", policy.to_owned()),
        Some(other) => {
            return Err(Fault::Input.because(format_args!("{other:?} is no pull policy")));
        }
    }
    for (outside, inside) in scalars("port", container.ports.as_ref())? {
        option("publish", format!("{outside}:{inside}"));
    }
    for (outside, inside) in scalars("volume", container.volumes.as_ref())? {
        option("volume", format!("{}:{inside}", mounted(machine, &outside)?));
    }
    for name in common.environment()?.keys() {
        option("env", name.clone());
    }
    if container.command.is_some() {
        option("entrypoint", "/bin/sh".to_owned());
    }
    arguments.push(container.image.clone().into());
    if let Some(command) = &container.command {
        arguments.extend(["-c".into(), command.into(), "sh".into()]);
    }
    arguments.extend(common.arguments()?);
    Ok(arguments)
}

/// What begins with a dash would be read as an option.
fn check(what: &str, text: &str) -> Outcome<()> {
    if text.is_empty() || text.starts_with('-') || text.contains('\0') {
        return Err(Fault::Input.because(format_args!("{text:?} cannot be a container's {what}")));
    }
    Ok(())
}

/// A volume by its name, or a folder that may be mounted. What the machine keeps elsewhere is not the workflow's.
fn mounted(machine: &Machine, source: &str) -> Outcome<String> {
    if !source.contains('/') && !source.starts_with('.') && !source.contains(':') {
        return Ok(source.to_owned());
    }
    let real = Path::new(source).canonicalize().ok().filter(|real| {
        let mut allowed =
            machine.settings.mounts.iter().filter_map(|mount| mount.canonicalize().ok());
        allowed.any(|mount| real.starts_with(mount))
    });
    let real = real.and_then(|real| real.into_os_string().into_string().ok());
    real.filter(|real| !real.contains(':')).ok_or_else(|| {
        Fault::AddressRefused
            .because(format_args!("{source:?} may not be mounted into a container"))
    })
}

/// The language's convention, and what tells one attempt from another.
fn usual_name(context: &Context) -> String {
    let (namespace, rest) = context.workflow().split_once('/').unwrap_or(("baton", "workflow"));
    let name = rest.split(':').next().unwrap_or(rest);
    let (instance, step, attempt) = (context.instance(), context.step(), context.attempt());
    let task = context.task().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let task = task.take(100).collect::<String>();
    format!("{name}-{instance}.{namespace}-{task}-{step}-{attempt}")
}

/// Removes the container when its client was ended before it.
struct Removal {
    machine: Arc<Machine>,
    client: OsString,
    name: Option<String>,
}

impl Drop for Removal {
    fn drop(&mut self) {
        let Some(name) = self.name.take() else { return };
        let (Ok(folder), Ok(runtime)) = (folder(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let program = Program {
            executable: self.client.clone(),
            arguments: vec!["rm".into(), "--force".into(), name.into()],
            environment: self.machine.settings.container_environment.clone(),
            stdin: Vec::new(),
            folder,
            output_bytes_max: self.machine.settings.output_bytes_max,
        };
        runtime.spawn(crate::process::run_unawaited(program, self.machine.settings.timeout));
    }
}
