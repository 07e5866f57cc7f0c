//! `run: shell`: a command for the machine's shell.

use std::sync::Arc;

use baton_worker::{Context, Outcome};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    fault::Fault,
    process::{Program, folder},
    run::{Common, Machine},
};

#[derive(Deserialize)]
struct Shell {
    command: String,
}

pub(crate) async fn run(machine: Arc<Machine>, context: Context, input: Value) -> Outcome<Value> {
    let common = Common::read(&input)?;
    let Shell { command } =
        serde_json::from_value(input).map_err(|error| Fault::Input.because(error))?;
    if command.contains('\0') {
        return Err(Fault::Input.because("the command holds a NUL"));
    }
    // What follows the command is $0 and then the arguments.
    let mut arguments = vec!["-c".into(), command.into(), "sh".into()];
    arguments.extend(common.arguments()?);
    let program = Program {
        executable: "/bin/sh".into(),
        arguments,
        environment: common.environment()?,
        stdin: common.stdin(),
        folder: folder()?,
        output_bytes_max: machine.settings.output_bytes_max,
    };
    machine.run(&context, &common, program).await
}
