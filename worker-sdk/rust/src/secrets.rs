//! Secrets: a command names them, the worker has their values, and what goes out does not hold them.

use std::{cmp::Reverse, collections::BTreeMap, fmt, io, path::PathBuf};

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::{
    Failure, Outcome,
    limits::{REVEALED_BYTES_MAX, SCRUBBED_BYTES_MIN, SECRET_BYTES_MAX, SECRETS_MAX},
};

/// What stands where a secret stood.
const SCRUBBED: &str = "***";

/// Members of a secret that is a JSON object which say how to use it and are no secrets themselves: they may stand in
/// ordinary output.
const PUBLIC_MEMBERS: [&str; 10] = [
    "audiences",
    "authority",
    "endpoints",
    "grant",
    "id",
    "issuers",
    "request",
    "scopes",
    "type",
    "username",
];

/// Where a worker finds the values of secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Secrets {
    /// The variable `BATON_SECRET_<NAME>`: the name in upper case, with `_` for `-` and `.`.
    Environment,
    /// A file of the secret's name in this folder; one line break at its end does not count. It is read for each step,
    /// so that a new value needs no new worker.
    Folder(PathBuf),
    /// These values by name.
    Given(BTreeMap<String, String>),
}

/// The secrets of one command.
pub(crate) struct Revealed {
    values: BTreeMap<String, String>,
    /// None: the command names no secrets.
    search: Option<Search>,
}

struct Search {
    placeholders: AhoCorasick,
    /// In the order of `placeholders`.
    put_in: Vec<String>,
    /// What must not go out, the longest first. Few and perhaps long, so they are looked for one by one: an automaton
    /// over long values takes longer to build than anything that it could find here.
    leaks: Vec<String>,
}

impl Secrets {
    /// None: there is no such secret here.
    async fn value(&self, name: &str) -> Option<String> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(fits) {
            return None;
        }
        match self {
            Self::Environment => environment(name),
            Self::Given(values) => values.get(name).cloned(),
            Self::Folder(folder) => match read(folder.join(name)).await {
                Ok(value) => Some(value),
                Err(error) => {
                    if error.kind() != io::ErrorKind::NotFound {
                        tracing::warn!(secret = name, %error, "the file of a secret cannot be read");
                    }
                    None
                }
            },
        }
    }
}

fn environment(name: &str) -> Option<String> {
    let variable = format!("BATON_SECRET_{}", name.to_ascii_uppercase().replace(['-', '.'], "_"));
    #[expect(
        clippy::disallowed_methods,
        reason = "a secret is no setting: its name comes with a step"
    )]
    std::env::var(variable).ok().filter(|value| value.len() <= SECRET_BYTES_MAX)
}

async fn read(path: PathBuf) -> io::Result<String> {
    let mut text = String::new();
    let bound = u64::try_from(SECRET_BYTES_MAX).unwrap_or(u64::MAX);
    let file = tokio::fs::File::open(path).await?;
    // One byte more than it may have, to know when it has more, and a line break.
    file.take(bound.saturating_add(3)).read_to_string(&mut text).await?;
    let kept = text
        .strip_suffix('\n')
        .map_or(text.len(), |line| line.strip_suffix('\r').map_or(line.len(), str::len));
    text.truncate(kept);
    if text.len() > SECRET_BYTES_MAX {
        return Err(io::Error::other(format!("a secret has at most {SECRET_BYTES_MAX} bytes")));
    }
    Ok(text)
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::Folder(folder) => f.debug_tuple("Folder").field(folder).finish(),
            Self::Given(values) => f.debug_set().entries(values.keys()).finish(),
        }
    }
}

impl Revealed {
    /// The values of what a command names: by placeholder the name of the secret.
    pub(crate) async fn find(
        secrets: &Secrets,
        wanted: &BTreeMap<String, String>,
    ) -> Outcome<Self> {
        if wanted.is_empty() {
            return Ok(Self { values: BTreeMap::new(), search: None });
        }
        if wanted.len() > SECRETS_MAX {
            return Err(Failure::validation(format_args!(
                "a step names at most {SECRETS_MAX} secrets"
            )));
        }
        let mut values = BTreeMap::new();
        for name in wanted.values() {
            if !values.contains_key(name) {
                let value = secrets.value(name).await.ok_or_else(|| {
                    Failure::secret_missing(format_args!("this worker has no secret {name:?}"))
                })?;
                values.insert(name.clone(), value);
            }
        }
        let search = Search::new(wanted, &values).map_err(Failure::validation)?;
        Ok(Self { values, search: Some(search) })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The input with values instead of placeholders, wherever they stand in its texts and keys.
    pub(crate) fn put_into(&self, input: Vec<u8>) -> Outcome<Vec<u8>> {
        let Some(search) = &self.search else { return Ok(input) };
        let mut input: Value = serde_json::from_slice(&input).map_err(Failure::validation)?;
        let mut room = REVEALED_BYTES_MAX;
        let replaced = each_text(&mut input, &mut |text| {
            let text = replace(&search.placeholders, text, |found| &search.put_in[found], room)?;
            room -= text.len();
            Some(text)
        });
        replaced.ok_or_else(|| {
            let bound = REVEALED_BYTES_MAX;
            Failure::validation(format_args!("with its secrets the input has over {bound} bytes"))
        })?;
        serde_json::to_vec(&input).map_err(Failure::validation)
    }

    pub(crate) fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for leak in self.leaks() {
            if text.contains(leak) {
                text = text.replace(leak, SCRUBBED);
            }
        }
        text
    }

    /// What may leave the worker.
    pub(crate) fn scrub_outcome(&self, outcome: Outcome<Vec<u8>>) -> Outcome<Vec<u8>> {
        if self.leaks().is_empty() {
            return outcome;
        }
        match outcome {
            Ok(output) => {
                let mut output: Value = serde_json::from_slice(&output)?;
                each_text(&mut output, &mut |text| Some(self.scrub(text)));
                Ok(serde_json::to_vec(&output)?)
            }
            Err(failure) => Err(Failure {
                title: self.scrub(&failure.title),
                detail: self.scrub(&failure.detail),
                ..failure
            }),
        }
    }

    fn leaks(&self) -> &[String] {
        self.search.as_ref().map_or(&[], |search| &search.leaks)
    }
}

impl Search {
    fn new(
        wanted: &BTreeMap<String, String>,
        values: &BTreeMap<String, String>,
    ) -> Result<Self, aho_corasick::BuildError> {
        let named = wanted.iter().filter(|(placeholder, _)| !placeholder.is_empty());
        let (placeholders, put_in): (Vec<_>, Vec<_>) = named
            .map(|(placeholder, name)| (placeholder, values.get(name).cloned().unwrap_or_default()))
            .unzip();
        let mut leaks = Vec::new();
        for value in values.values() {
            add_leak(value, &mut leaks);
            if let Ok(body @ Value::Object(_)) = serde_json::from_str(value) {
                add_members(&body, &mut leaks);
            }
        }
        leaks.sort_unstable_by_key(|leak| Reverse(leak.len()));
        let placeholders =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(placeholders)?;
        Ok(Self { placeholders, put_in, leaks })
    }
}

fn add_members(body: &Value, leaks: &mut Vec<String>) {
    match body {
        Value::String(text) => add_leak(text, leaks),
        Value::Array(items) => items.iter().for_each(|item| add_members(item, leaks)),
        Value::Object(members) => {
            let secret =
                members.iter().filter(|(name, _)| !PUBLIC_MEMBERS.contains(&name.as_str()));
            secret.for_each(|(_, member)| add_members(member, leaks));
        }
        Value::Number(number) => add_leak(&number.to_string(), leaks),
        Value::Null | Value::Bool(_) => {}
    }
}

/// A value as it is, and as it stands in a URL.
fn add_leak(value: &str, leaks: &mut Vec<String>) {
    if value.len() < SCRUBBED_BYTES_MIN {
        return;
    }
    let forms =
        [value.to_owned(), percent(value, b"-._~"), percent(value, b"*-._").replace("%20", "+")];
    for form in forms {
        if !leaks.contains(&form) {
            leaks.push(form);
        }
    }
}

fn percent(text: &str, kept: &[u8]) -> String {
    use fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Changes every text and key; none as soon as `change` gives none.
fn each_text(value: &mut Value, change: &mut impl FnMut(&str) -> Option<String>) -> Option<()> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => *text = change(text)?,
        Value::Array(items) => {
            for item in items {
                each_text(item, change)?;
            }
        }
        Value::Object(members) => {
            for (key, mut member) in std::mem::take(members) {
                each_text(&mut member, change)?;
                members.insert(change(&key)?, member);
            }
        }
    }
    Some(())
}

/// None when the result has more than `bytes_max`.
fn replace<'a>(
    needles: &AhoCorasick,
    text: &str,
    with: impl Fn(usize) -> &'a str,
    bytes_max: usize,
) -> Option<String> {
    let mut replaced = String::new();
    let mut from = 0;
    for found in needles.find_iter(text) {
        replaced.push_str(&text[from..found.start()]);
        replaced.push_str(with(found.pattern().as_usize()));
        from = found.end();
        if replaced.len() > bytes_max {
            return None;
        }
    }
    replaced.push_str(&text[from..]);
    (replaced.len() <= bytes_max).then_some(replaced)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(values: &[(&str, &str)]) -> Secrets {
        Secrets::Given(values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    async fn revealed(secrets: &Secrets, wanted: &[(&str, &str)]) -> Outcome<Revealed> {
        let wanted = wanted.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Revealed::find(secrets, &wanted).await
    }

    #[tokio::test]
    async fn placeholders_are_replaced_in_texts_and_keys_and_what_is_put_in_is_not_read_again() {
        let secrets = given(&[("a", "<two>"), ("b", "beta")]);
        let revealed = revealed(&secrets, &[("<one>", "a"), ("<two>", "b")]).await.unwrap();
        let input = json!({"x": ["Bearer <one>", "<two><two>"], "<two>": 1.50});
        let input = revealed.put_into(input.to_string().into_bytes()).unwrap();
        let input: Value = serde_json::from_slice(&input).unwrap();
        assert_eq!(input, json!({"x": ["Bearer <two>", "betabeta"], "beta": 1.50}));
    }

    #[tokio::test]
    async fn an_input_does_not_grow_without_bound() {
        let secrets = given(&[("a", &"x".repeat(SECRET_BYTES_MAX))]);
        let revealed = revealed(&secrets, &[("<a>", "a")]).await.unwrap();
        let input = serde_json::to_vec(&"<a>".repeat(1000)).unwrap();
        assert_eq!(revealed.put_into(input).unwrap_err().title, "invalid-input");
    }

    #[tokio::test]
    async fn a_missing_secret_is_an_authorization_error() {
        for name in ["none", "../a", ".a", ""] {
            let failure = revealed(&given(&[("a", "b")]), &[("<x>", name)]).await.err().unwrap();
            assert_eq!((failure.title.as_str(), failure.status), ("secret-missing", 403), "{name}");
            assert_eq!(
                (failure.kind.as_str(), failure.retryable),
                (crate::AUTHORIZATION_ERROR, false)
            );
        }
    }

    #[tokio::test]
    async fn a_folder_holds_a_file_for_each_secret() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("api-key"), "k3y\nline\n").unwrap();
        std::fs::write(folder.path().join("large"), "x".repeat(SECRET_BYTES_MAX + 1)).unwrap();
        std::fs::write(folder.path().join("full"), "x".repeat(SECRET_BYTES_MAX) + "\r\n").unwrap();
        let secrets = Secrets::Folder(folder.path().to_owned());
        assert_eq!(secrets.value("api-key").await.as_deref(), Some("k3y\nline"));
        assert_eq!(secrets.value("full").await.map(|value| value.len()), Some(SECRET_BYTES_MAX));
        assert_eq!(secrets.value("large").await, None);
        assert_eq!(secrets.value("none").await, None);
    }

    #[tokio::test]
    async fn what_goes_out_holds_no_secret_in_any_form() {
        let secrets = given(&[
            ("key", "s3cr t/key"),
            ("login", r#"{"username":"admin","password":"hunter22"}"#),
            ("pin", "123"),
        ]);
        let wanted = [("<k>", "key"), ("<l>", "login"), ("<p>", "pin")];
        let revealed = revealed(&secrets, &wanted).await.unwrap();
        let text = "admin: s3cr t/key, s3cr%20t%2Fkey and s3cr+t%2Fkey; hunter22, 123";
        assert_eq!(revealed.scrub(text), "admin: ***, *** and ***; ***, 123");
        let output = br#"{"echo":{"hunter22":["s3cr t\/key"]}}"#.to_vec();
        let output = revealed.scrub_outcome(Ok(output)).unwrap();
        assert_eq!(String::from_utf8(output).unwrap(), r#"{"echo":{"***":["***"]}}"#);
        let failure = Failure::terminal("no hunter22").with_detail("at s3cr t/key");
        let failure = revealed.scrub_outcome(Err(failure)).unwrap_err();
        assert_eq!((failure.title.as_str(), failure.detail.as_str()), ("no ***", "at ***"));
        assert!(!format!("{secrets:?}").contains("hunter22"));
    }
}
