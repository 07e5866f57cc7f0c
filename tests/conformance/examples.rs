//! The examples of the language, as the engine's linter sees them.

use std::path::Path;

use anyhow::{Context, Result};
use baton_proto::v1::ValidateRequest;
use baton_proto::v1::diagnostic::Severity;
use baton_tests::Api;

/// One example.
#[derive(Debug)]
pub(crate) struct Example {
    /// Name of its file.
    pub name: String,
    /// The first reason for which it does not deploy.
    pub refusal: Option<String>,
}

/// All examples of a folder, in order of their names.
pub(crate) async fn check(api: &Api, folder: &Path) -> Result<Vec<Example>> {
    let mut files = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    let mut examples = Vec::new();
    for file in files {
        let source = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let request = ValidateRequest { source };
        let answer = api.definitions.clone().validate(request).await.context("validate")?;
        let mut findings = answer.into_inner().diagnostics.into_iter();
        let error = findings.find(|finding| finding.severity() == Severity::Error);
        let refusal = error.map(|error| format!("{} at {}", error.message, error.pointer));
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        examples.push(Example { name: name.unwrap_or_default(), refusal });
    }
    Ok(examples)
}
