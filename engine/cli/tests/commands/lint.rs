//! What is wrong with workflow files, found without an engine.

use serde_json::Value;

use crate::{baton_given, engine, offline};

const HEAD: &str = "document: { dsl: 1.0.3, namespace: n, name: a, version: 1.0.0 }\n";

/// One error and one warning.
fn odd() -> String {
    format!("{HEAD}do:\n- a: {{ set: {{ b: 1 }}, thn: end }}\n- end: {{ set: {{ b: 1 }} }}\n")
}

#[tokio::test]
async fn mistakes_are_found_without_an_engine_and_shown_where_they_stand() {
    let (status, out, err) = offline(&["lint", "-"], &odd()).await;
    assert_eq!(
        out,
        "<stdin>:3:23: error unknown-key: a `set` task has no key `thn`
    3 | - a: { set: { b: 1 }, thn: end }
      |                       ^
    hint: did you mean `then`?
<stdin>:4:3: warning directive-name: `then: end` means the directive, never this task
    4 | - end: { set: { b: 1 } }
      |   ^
    hint: give the task another name
"
    );
    assert_eq!((status, err.as_str()), (1, ""));
}

#[tokio::test]
async fn warnings_alone_are_status_zero() {
    let source = format!("{HEAD}do:\n- end: {{ set: {{ b: 1 }} }}\n");
    let (status, out, _) = offline(&["lint", "-"], &source).await;
    assert_eq!((status, out.lines().count()), (0, 4), "{out}");
    let (status, out, _) = offline(&["lint", "-"], &format!("{HEAD}do: []\n")).await;
    assert_eq!((status, out.as_str()), (0, "<stdin> is well\n"));
    let (status, out, err) = offline(&["lint", "/nowhere/a.yaml"], "").await;
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("/nowhere/a.yaml cannot be read"), "{err}");
}

#[tokio::test]
async fn a_secret_is_found_and_not_shown() {
    let source = format!("{HEAD}do:\n- a: {{ set: {{ password: hunter2-hunter2 }} }}\n");
    for format in ["text", "json", "sarif"] {
        let (status, out, err) = offline(&["lint", "-", "-o", format], &source).await;
        assert_eq!((status, err.as_str()), (0, ""));
        assert!(out.contains("secret-literal") && !out.contains("hunter2"), "{out}");
    }
}

#[tokio::test]
async fn programs_get_every_finding_with_its_place() {
    let (status, out, _) = offline(&["lint", "-", "-o", "json"], &odd()).await;
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &found["valid"]), (1, &Value::Bool(false)));
    let diagnostics = found["files"][0]["diagnostics"].as_array().unwrap();
    assert_eq!(diagnostics.len(), 2, "{out}");
    for (key, value) in [
        ("severity", "\"error\""),
        ("code", "\"unknown-key\""),
        ("line", "3"),
        ("column", "23"),
        ("pointer", "\"/do/0/a/thn\""),
        ("hint", "\"did you mean `then`?\""),
    ] {
        assert_eq!(diagnostics[0][key].to_string(), value, "{key}");
    }
}

/// What SARIF 2.1.0 wants of a log, as far as ours has it (sections 3.13 to 3.30).
fn check_sarif(log: &Value) {
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-2.1.0.json"));
    for run in log["runs"].as_array().unwrap() {
        let driver = &run["tool"]["driver"];
        assert!(!driver["name"].as_str().unwrap().is_empty());
        assert_eq!(run["columnKind"], "unicodeCodePoints");
        let rules = driver["rules"].as_array().unwrap();
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()));
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            for location in result["locations"].as_array().unwrap() {
                let place = &location["physicalLocation"];
                let uri = place["artifactLocation"]["uri"].as_str().unwrap();
                assert!(!uri.is_empty() && !uri.contains([' ', '<', '>', '\\']), "{uri}");
                for key in ["startLine", "startColumn"] {
                    assert!(place["region"][key].as_u64().unwrap() >= 1, "{location}");
                }
            }
        }
    }
}

#[tokio::test]
async fn editors_and_code_hosts_get_sarif() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("an order.yaml");
    std::fs::write(&file, odd()).unwrap();
    let (status, out, _) =
        offline(&["lint", file.to_str().unwrap(), "-", "-o", "sarif"], &odd()).await;
    assert_eq!(status, 1);
    let log: Value = serde_json::from_str(&out).unwrap();
    check_sarif(&log);
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 4, "{out}");
    let uri = &results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    let uri = uri.as_str().unwrap();
    assert!(uri.starts_with("file:///") && uri.ends_with("/an%20order.yaml"), "{uri}");
    let (status, out, _) = offline(&["lint", "-", "-o", "sarif"], &format!("{HEAD}do: []")).await;
    assert_eq!(status, 0);
    check_sarif(&serde_json::from_str(&out).unwrap());
}

#[tokio::test]
async fn an_engine_that_is_asked_adds_what_it_alone_knows() {
    let url = engine::serve().await.to_string();
    let source = format!("{HEAD}do:\n- a: {{ call: unserved, thn: end }}\n");
    let (status, out, _) = baton_given(&url, &["lint", "--engine", "-"], &source).await;
    assert_eq!(status, 1);
    let heads: Vec<_> = out.lines().filter(|line| line.starts_with("<stdin>")).collect();
    assert_eq!(heads.len(), 2, "{out}");
    assert!(heads[0].contains(":3:14: warning unserved-function"), "{out}");
    assert!(heads[1].contains(":3:24: error unknown-key"), "{out}");
    // What both find is told once.
    let (_, out, _) = baton_given(&url, &["lint", "--engine", "-"], "nonsense: 1").await;
    assert_eq!(out.matches("missing-key").count(), 2, "a `document` and a `do`: {out}");
    let (status, _, err) = offline(&["lint", "--engine", "-"], &source).await;
    assert_eq!(status, 1);
    assert!(err.contains("no engine answers"), "{err}");
}

#[tokio::test]
async fn a_form_that_a_command_does_not_write_is_refused() {
    for (words, form) in [
        (["list", "-o", "sarif"], "sarif"),
        (["lint", "-", "-ojunit"], "junit"),
        (["diagram", "-", "-osarif"], "sarif"),
    ] {
        let (status, out, err) = offline(&words, "").await;
        assert_eq!((status, out.as_str()), (1, ""), "{words:?}");
        assert!(err.contains(form), "{err}");
    }
}
