//! The catalog: deploys, lists and prints its functions, and finds them in a folder where no engine is asked.

use std::{collections::BTreeSet, fs, io, path::Path};

use baton_dsl::{FunctionName, Functions, mentions};
use baton_proto::v1::{
    DeployFunctionRequest, GetFunctionRequest, ListFunctionsRequest, ValidateFunctionRequest,
};
use serde_json::json;
use tonic::Request;

use crate::{
    args::{Folder, FunctionsCommand},
    client::Client,
    error::{Error, Outcome},
    finding::{self, Finding},
    input,
    output::{Output, Tone},
    shape, times,
};

pub(crate) async fn functions(
    client: &Client,
    command: Option<FunctionsCommand>,
    output: &Output,
) -> Result<Outcome, Error> {
    match command {
        None | Some(FunctionsCommand::List) => list(client, output).await,
        Some(FunctionsCommand::Deploy { name, file }) => deploy(client, &name, &file, output).await,
        Some(FunctionsCommand::Show { name }) => show(client, &name, output).await,
    }
}

async fn deploy(
    client: &Client,
    name: &FunctionName,
    file: &Path,
    output: &Output,
) -> Result<Outcome, Error> {
    let source = input::read(file)?;
    let request = DeployFunctionRequest {
        name: name.name().to_owned(),
        version: name.version().to_owned(),
        source: source.clone(),
    };
    let response = match client.definitions().deploy_function(Request::new(request)).await {
        Ok(response) => response.into_inner(),
        Err(status) => {
            let check = async {
                let request = Request::new(ValidateFunctionRequest { source: source.clone() });
                let answer = client.definitions().validate_function(request).await?;
                Ok(answer.into_inner().diagnostics)
            };
            let error = client.error(&status);
            return Err(finding::refused(file, &source, error, check, output.paint).await);
        }
    };
    let warnings: Vec<_> = response.warnings.iter().map(Finding::from).collect();
    if output.is_json() {
        output.json(&json!({
            "file": input::name(file),
            "created": response.created,
            "function": shape::function(&response.function.unwrap_or_default()),
            "warnings": warnings.iter().map(Finding::json).collect::<Vec<_>>(),
        }))?;
        return Ok(Outcome::Well);
    }
    let (word, tone) =
        if response.created { ("deployed", Tone::Good) } else { ("unchanged", Tone::Dim) };
    output.line(&format!("{} {name}", output.paint.apply(tone, &format!("{word:<9}"))))?;
    output.lines(&finding::lines(&input::name(file), &source, &warnings, output.paint))?;
    Ok(Outcome::Well)
}

async fn list(client: &Client, output: &Output) -> Result<Outcome, Error> {
    let answer = client.definitions().list_functions(Request::new(ListFunctionsRequest {})).await;
    let functions = answer.map_err(|status| client.error(&status))?.into_inner().functions;
    if output.is_json() {
        let shapes: Vec<_> = functions.iter().map(shape::function).collect();
        output.json(&json!({ "functions": shapes }))?;
    } else if functions.is_empty() {
        output.line(
            "the catalog has no function; `baton functions deploy NAME:VERSION FILE` deploys one",
        )?;
    } else {
        let now = times::now_ms();
        let rows = functions.iter().map(|function| {
            let deployed_at = function.deployed_at.as_ref();
            let ago = deployed_at.map_or(String::new(), |at| times::ago(times::ms(at), now));
            vec![
                (format!("{}:{}", function.name, function.version), Tone::Bold),
                (ago, Tone::Dim),
                (function.hash.chars().take(12).collect(), Tone::Dim),
            ]
        });
        output.table(&["FUNCTION", "DEPLOYED", "HASH"], rows.collect())?;
    }
    Ok(Outcome::Well)
}

async fn show(client: &Client, name: &FunctionName, output: &Output) -> Result<Outcome, Error> {
    let request =
        GetFunctionRequest { name: name.name().to_owned(), version: name.version().to_owned() };
    let answer = client.definitions().get_function(Request::new(request)).await;
    let function = answer.map_err(|status| client.error(&status))?.into_inner();
    if output.is_json() {
        output.json(&shape::function(&function))?;
    } else {
        output.line(function.source.trim_end())?;
    }
    Ok(Outcome::Well)
}

impl Folder {
    /// The functions that a text mentions, and those that they mention, as far as the folder has them.
    pub(crate) fn gather(&self, source: &str) -> Result<Functions, input::Error> {
        let mut found = Functions::new();
        let Some(folder) = &self.functions else { return Ok(found) };
        // A folder that is not there is a mistake, and not an empty catalog.
        fs::read_dir(folder)
            .map_err(|source| input::Error::File { path: folder.clone(), source })?;
        let mut open = mentions(source);
        let mut asked = BTreeSet::new();
        while let Some(name) = open.pop_first() {
            // One more than a workflow may have is for the compiler to refuse.
            if !asked.insert(name.clone()) || found.len() > baton_dsl::FUNCTIONS_MAX {
                continue;
            }
            let path = folder.join(name.name()).join(name.version()).join("function.yaml");
            match input::read(&path) {
                Ok(text) => {
                    open.extend(mentions(&text));
                    found.insert(name, text);
                }
                Err(input::Error::File { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}
