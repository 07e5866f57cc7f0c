//! `run: script`: a script for an interpreter of the machine.

use std::sync::Arc;

use baton_worker::{Context, Outcome};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Net,
    auth::Authentication,
    document,
    fault::Fault,
    input::Resource,
    process::{Program, folder},
    run::{Common, Machine},
    time::within,
};

#[derive(Deserialize)]
struct Script {
    language: String,
    code: Option<String>,
    source: Option<Resource>,
}

pub(crate) async fn run(
    net: Arc<Net>,
    machine: Arc<Machine>,
    context: Context,
    input: Value,
) -> Outcome<Value> {
    let common = Common::read(&input)?;
    let script: Script =
        serde_json::from_value(input).map_err(|error| Fault::Input.because(error))?;
    let (interpreter, name) = match script.language.as_str() {
        "js" => (&machine.settings.node, "script.js"),
        "python" => (&machine.settings.python, "script.py"),
        other => {
            return Err(Fault::Unsupported
                .because(format_args!("scripts are in js or python, not in {other:?}")));
        }
    };
    let code = match (script.code, script.source) {
        (Some(code), None) => code,
        (None, Some(source)) => {
            let url = source.endpoint.url()?;
            let authentication =
                Authentication::read(source.endpoint.authentication.as_ref(), &context)?;
            let code = document::fetch(&net, &context, url, authentication);
            within(&context, net.settings.timeout, code).await?
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(Fault::Input.because("a script has either code or a source"));
        }
    };
    let folder = folder()?;
    let path = folder.path().join(name);
    tokio::fs::write(&path, code).await?;
    let mut arguments = vec![path.into_os_string()];
    arguments.extend(common.arguments()?);
    let program = Program {
        executable: interpreter.clone().into_os_string(),
        arguments,
        environment: common.environment()?,
        stdin: common.stdin(),
        folder,
        output_bytes_max: machine.settings.output_bytes_max,
    };
    machine.run(&context, &common, program).await
}
