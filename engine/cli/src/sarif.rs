//! Findings as SARIF 2.1.0, which editors and code hosts read.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::{Value, json};

use crate::finding::Finding;

/// A file that was looked at, and what was found in it.
pub(crate) struct Looked<'a> {
    /// As it was named; `None`: the standard input.
    pub(crate) file: Option<&'a str>,
    pub(crate) findings: &'a [Finding],
}

pub(crate) fn log(files: &[Looked<'_>]) -> Value {
    let all = files.iter().flat_map(|looked| looked.findings);
    let codes: BTreeSet<&str> = all.map(|finding| finding.code.as_str()).collect();
    let rules: Vec<_> = codes.iter().map(|code| json!({ "id": code })).collect();
    let results = files.iter().flat_map(|looked| {
        let uri = looked.file.map_or_else(|| "stdin".to_owned(), uri);
        let codes = &codes;
        looked.findings.iter().map(move |finding| result(finding, &uri, codes))
    });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "baton lint",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results.collect::<Vec<_>>(),
        }],
    })
}

fn result(finding: &Finding, uri: &str, codes: &BTreeSet<&str>) -> Value {
    let mut text = finding.message.clone();
    if !finding.hint.is_empty() {
        // Writing to a string cannot fail.
        let _infallible = write!(text, " ({})", finding.hint);
    }
    let mut place = json!({ "artifactLocation": { "uri": uri } });
    if finding.line > 0 {
        place["region"] =
            json!({ "startLine": finding.line, "startColumn": finding.column.max(1) });
    }
    let mut location = json!({ "physicalLocation": place });
    if !finding.pointer.is_empty() {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": finding.pointer }]);
    }
    json!({
        "ruleId": finding.code,
        "ruleIndex": codes.iter().position(|code| *code == finding.code),
        "level": finding.severity.word(),
        "message": { "text": text },
        "locations": [location],
    })
}

/// A relative reference, or a `file:` URI for a path from the root.
fn uri(path: &str) -> String {
    let mut out = String::new();
    if path.starts_with('/') {
        out.push_str("file://");
    } else if path.split('/').next().is_some_and(|first| first.contains(':')) {
        // Else what stands before the colon would be a scheme.
        out.push_str("./");
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("flows/order 1.yaml"), "flows/order%201.yaml");
        assert_eq!(uri("/tmp/ü#.yaml"), "file:///tmp/%C3%BC%23.yaml");
        assert_eq!(uri("a:b.yaml"), "./a:b.yaml");
    }
}
