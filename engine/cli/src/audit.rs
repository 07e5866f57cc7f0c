//! `baton audit`: files of what has happened, exported from an engine and checked without one.

mod commits;
mod verify;

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
};

use baton_proto::{
    pack::{LINE_BYTES_MAX, Scope},
    v1::ExportRequest,
};
use ed25519_dalek::{VerifyingKey, pkcs8::DecodePublicKey};
use serde_json::{Value, json};
use tonic::Request;

use crate::{
    args::{AuditCommand, ExportArguments},
    audit::verify::Verifier,
    client::{self, Client},
    error::{self, Outcome},
    input,
    output::{Output, Tone},
    progress, times,
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{} is there already; --force writes over it", .0.display())]
    Exists(PathBuf),
    #[error("{} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is no Ed25519 public key in PEM", .0.display())]
    Key(PathBuf),
}

impl Error {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Exists(_) => "file-exists",
            Self::Write { .. } => "bad-file",
            Self::Key(_) => "bad-key",
        }
    }
}

/// The second needs no engine.
pub(crate) async fn audit(
    command: &AuditCommand,
    client: impl Fn() -> Result<Client, client::Error>,
    output: &Output,
) -> Result<Outcome, error::Error> {
    match command {
        AuditCommand::Export(asked) => export(&client()?, asked, output).await,
        AuditCommand::Verify { file, keys } => verify(file, keys, output),
    }
}

async fn export(
    client: &Client,
    asked: &ExportArguments,
    output: &Output,
) -> Result<Outcome, error::Error> {
    let path = &asked.to;
    if path.exists() && !asked.force {
        return Err(Error::Exists(path.clone()).into());
    }
    let spinner = progress::spinner("exporting");
    let request = ExportRequest {
        instance: asked.instance.clone().unwrap_or_default(),
        since: asked.since.map(times::timestamp),
        until: asked.until.map(times::timestamp),
    };
    let answer = client.audit().export(Request::new(request)).await;
    let mut stream = answer.map_err(|status| client.error(&status))?.into_inner();
    // Under its name there is only a whole file.
    let fresh = fresh(path);
    let unwritten = |source| Error::Write { path: fresh.clone(), source };
    let mut file = BufWriter::new(File::create(&fresh).map_err(unwritten)?);
    let (mut bytes, mut lines) = (0_usize, 0_usize);
    loop {
        let some = match stream.message().await {
            Ok(Some(some)) => some,
            Ok(None) => break,
            Err(status) => {
                let _ = fs::remove_file(&fresh);
                return Err(client.error(&status).into());
            }
        };
        file.write_all(some.text.as_bytes()).map_err(unwritten)?;
        bytes += some.text.len();
        lines += some.text.bytes().filter(|byte| *byte == b'\n').count();
        spinner.set_message(format!("exported {} MiB", bytes / (1024 * 1024)));
    }
    let file = file.into_inner().map_err(|error| unwritten(error.into_error()))?;
    file.sync_all().map_err(unwritten)?;
    fs::rename(&fresh, path).map_err(|source| Error::Write { path: path.clone(), source })?;
    spinner.finish_and_clear();
    if output.is_json() {
        output.json(&json!({ "file": input::name(path), "lines": lines, "bytes": bytes }))?;
    } else {
        let exported = output.paint.apply(Tone::Good, "exported");
        output.line(&format!("{exported} {lines} lines to {}", input::name(path)))?;
    }
    Ok(Outcome::Well)
}

/// Beside it, so that it can take its name.
fn fresh(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn verify(path: &Path, keys: &[PathBuf], output: &Output) -> Result<Outcome, error::Error> {
    let keys = keys.iter().map(|path| key(path)).collect::<Result<Vec<_>, _>>()?;
    let given = !keys.is_empty();
    let unreadable = |source| input::Error::File { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut verifier = Verifier::new(keys);
    let spinner = progress::spinner("checking");
    let mut line = Vec::new();
    while verifier.goes_on() {
        line.clear();
        // One byte more than a line may have says that there is more, and one is its end.
        let most = LINE_BYTES_MAX as u64 + 2;
        (&mut file).take(most).read_until(b'\n', &mut line).map_err(unreadable)?;
        if line.is_empty() {
            break;
        }
        verifier.line(&line);
    }
    spinner.finish_and_clear();
    let checked = verifier.end();
    if output.is_json() {
        output.json(&document(path, &checked, given))?;
    } else {
        tell(path, &checked, given, output)?;
    }
    Ok(if checked.findings.is_empty() { Outcome::Well } else { Outcome::Problems })
}

fn key(path: &Path) -> Result<[u8; 32], error::Error> {
    let text = input::read(path)?;
    let key = VerifyingKey::from_public_key_pem(&text);
    Ok(key.map_err(|_| Error::Key(path.to_owned()))?.to_bytes())
}

fn document(path: &Path, checked: &verify::Checked, given: bool) -> Value {
    let findings = checked.findings.iter().map(
        |finding| json!({ "line": finding.line, "code": finding.code, "message": finding.message }),
    );
    let partitions = checked.partitions.iter().map(|place| {
        json!({
            "partition": place.number, "first": place.first, "last": place.last,
            "signed_to": place.signed_to,
        })
    });
    let header = checked.header.as_ref();
    json!({
        "file": input::name(path), "valid": checked.findings.is_empty(),
        "of": header.map(|header| &header.of),
        "exported_at": header.and_then(|header| times::rfc3339(header.exported_at_ms)),
        "exported_by": header.map(|header| &header.exported_by),
        "engine": header.map(|header| &header.engine),
        "key": header.map(|header| header.key.to_string()), "key_given": given,
        "lines": checked.lines, "commits": checked.commits, "events": checked.events,
        "actions": checked.actions, "heads": checked.heads,
        "partitions": partitions.collect::<Vec<_>>(), "findings": findings.collect::<Vec<_>>(),
    })
}

fn tell(
    path: &Path,
    checked: &verify::Checked,
    given: bool,
    output: &Output,
) -> Result<(), error::Error> {
    let name = input::name(path);
    for verify::Finding { line, code, message } in &checked.findings {
        let text = format!("{name}:{line}: error[{code}]: {message}");
        output.line(&output.paint.apply(Tone::Bad, &text))?;
    }
    let Some(header) = checked.header.as_ref().filter(|_| checked.findings.is_empty()) else {
        return Ok(output.line(&output.paint.apply(Tone::Bad, "it is not as it was exported"))?);
    };
    let holds = output.paint.apply(Tone::Good, "is as it was exported");
    output.line(&format!("{name} {holds}: {}", of(&header.of)))?;
    let at = times::readable(header.exported_at_ms);
    output.line(&format!(
        "  at {at} by {} from {}: {} actions",
        plain(&header.exported_by),
        plain(&header.engine),
        checked.actions
    ))?;
    for place in &checked.partitions {
        let to = match place.signed_to {
            _ if place.last < place.first => "none in this period".to_owned(),
            Some(to) => {
                format!("commits {} to {}, up to {to} under signed heads", place.first, place.last)
            }
            None => format!("commits {} to {}, none under a signed head", place.first, place.last),
        };
        output.line(&format!("  partition {}: {to}", place.number))?;
    }
    if matches!(header.of, Scope::Case { .. }) {
        output.line("  one case is proved by the seal alone: the chain needs what is of others")?;
    }
    let trust = if given {
        format!("  signed with the key that you gave, {}", header.key)
    } else {
        format!(
            "  signed with the key that the file itself names: that proves something only if {} is the engine's (--key)",
            header.key
        )
    };
    let tone = if given { Tone::Plain } else { Tone::Warn };
    Ok(output.line(&output.paint.apply(tone, &trust))?)
}

fn of(scope: &Scope) -> String {
    match scope {
        Scope::Period { since_ms, until_ms, .. } => {
            let since = since_ms.map_or_else(|| "the beginning".to_owned(), times::readable);
            let until = until_ms.map_or_else(|| "the export".to_owned(), times::readable);
            format!("everything from {since} to {until}")
        }
        Scope::Case { instance } => format!("instance {}", plain(instance)),
    }
}

/// A file from elsewhere does not move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(256).collect()
}
