//! What shell, script and container have in common: arguments, environment, and what is returned.

use std::{collections::BTreeMap, ffi::OsString, sync::Arc};

use baton_worker::{Context, Outcome};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::{
    Processes,
    fault::Fault,
    input::{scalar, scalars},
    limits::{STDERR_SHOWN_BYTES, UNAWAITED_MAX},
    process::{Ended, Program, run_unawaited},
    time::within,
};

/// The machine that programs run on.
pub(crate) struct Machine {
    pub(crate) settings: Processes,
    unawaited: Arc<Semaphore>,
}

/// The arguments that all three take.
#[derive(Deserialize)]
pub(crate) struct Common {
    stdin: Option<Value>,
    arguments: Option<Vec<Value>>,
    environment: Option<Map<String, Value>>,
    #[serde(rename = "await")]
    awaited: Option<bool>,
    #[serde(rename = "return")]
    returned: Option<Returned>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Returned {
    #[default]
    Stdout,
    Stderr,
    Code,
    All,
    None,
}

impl Machine {
    pub(crate) fn new(settings: Processes) -> Self {
        Self { settings, unawaited: Arc::new(Semaphore::new(UNAWAITED_MAX)) }
    }

    /// Runs it to its end, or, when nobody awaits that, sees to it that it runs.
    pub(crate) async fn run(
        &self,
        context: &Context,
        common: &Common,
        program: Program,
    ) -> Outcome<Value> {
        let most = self.settings.timeout;
        if common.awaited == Some(false) {
            let permit = self.unawaited.clone().try_acquire_owned().map_err(|_| {
                Fault::Busy.because(format_args!("{UNAWAITED_MAX} programs run that nobody awaits"))
            })?;
            tokio::spawn(async move {
                run_unawaited(program, most).await;
                drop(permit);
            });
            return Ok(Value::Null);
        }
        let ended = within(context, most, program.run()).await?;
        common.output(context, ended)
    }
}

impl Common {
    pub(crate) fn read(input: &Value) -> Outcome<Self> {
        serde_json::from_value(input.clone()).map_err(|error| Fault::Input.because(error))
    }

    /// A text as it is, anything else as JSON.
    pub(crate) fn stdin(&self) -> Vec<u8> {
        match &self.stdin {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => text.clone().into_bytes(),
            Some(other) => other.to_string().into_bytes(),
        }
    }

    pub(crate) fn arguments(&self) -> Outcome<Vec<OsString>> {
        let arguments = self.arguments.iter().flatten();
        let texts = arguments.map(|value| {
            let text = scalar(value).filter(|text| !text.contains('\0'));
            text.map(OsString::from).ok_or_else(|| {
                Fault::Input
                    .because("an argument must be a text without NUL, a number or a boolean")
            })
        });
        texts.collect()
    }

    pub(crate) fn environment(&self) -> Outcome<BTreeMap<String, OsString>> {
        let pairs = scalars("variable", self.environment.as_ref())?;
        for (name, value) in &pairs {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(Fault::Input.because(format_args!("{name:?} cannot be a variable")));
            }
        }
        Ok(pairs.into_iter().map(|(name, value)| (name, value.into())).collect())
    }

    /// An exit code other than 0 is an error, unless the workflow asks to see the code.
    fn output(&self, context: &Context, ended: Ended) -> Outcome<Value> {
        let Ended { code, stdout, stderr } = ended;
        let returned = self.returned.unwrap_or_default();
        let failed = || {
            let stderr = context.scrub(&stderr);
            let stderr = stderr.trim_end();
            let from = stderr.len().saturating_sub(STDERR_SHOWN_BYTES);
            let from = (from..=stderr.len()).find(|from| stderr.is_char_boundary(*from));
            let last = &stderr[from.unwrap_or(0)..];
            Fault::ProgramFailed.because(format_args!("the program ended with code {code}: {last}"))
        };
        match returned {
            Returned::Code => Ok(code.into()),
            Returned::All => Ok(json!({ "code": code, "stdout": stdout, "stderr": stderr })),
            Returned::Stdout | Returned::Stderr | Returned::None if code != 0 => Err(failed()),
            Returned::Stdout => Ok(stdout.into()),
            Returned::Stderr => Ok(stderr.into()),
            Returned::None => Ok(Value::Null),
        }
    }
}
