//! Functions of the catalog: with an engine, and from a folder without one.

use std::fs;

use crate::{baton, baton_given, engine, offline};

const CALL: &str = "document: { dsl: 1.0.3, namespace: n, name: a, version: 1.0.0 }
do:
- a: { call: greet:1.0.0@default }
";

/// A folder of the test's own, with one function.
fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let version = folder.path().join("greet/1.0.0");
    fs::create_dir_all(&version).unwrap();
    fs::write(version.join("function.yaml"), text).unwrap();
    folder
}

#[tokio::test]
async fn functions_are_deployed_listed_and_shown() {
    let url = engine::serve().await.to_string();
    let deploy = ["functions", "deploy", "greet:1.0.0", "-"];
    let (status, out, _) = baton_given(&url, &deploy, "document: {}").await;
    assert_eq!((status, out.as_str()), (0, "deployed  greet:1.0.0\n"));
    let (status, _, err) = baton_given(&url, &deploy, "nonsense: 1").await;
    assert_eq!(status, 2);
    assert!(err.contains("<stdin>:1:1: error") && err.contains("(invalid-function)"), "{err}");
    let (_, out, _) = baton(&["functions"]).await;
    assert!(out.contains("FUNCTION") && out.contains("greet:1.0.0"), "{out}");
    assert_eq!(baton(&["functions", "list"]).await.1, out);
    let (_, out, _) = baton(&["functions", "show", "greet:1.0.0"]).await;
    assert_eq!(out, "set: { a: 1 }\n");
    let (_, out, _) = baton(&["functions", "show", "greet:1.0.0", "-o", "json"]).await;
    assert!(out.contains("\"source\":\"set: { a: 1 }\\n\""), "{out}");
    let (status, _, err) = baton(&["functions", "show", "greet"]).await;
    assert_eq!(status, 1);
    assert!(err.contains("wanted NAME:VERSION"), "{err}");
}

#[tokio::test]
async fn without_a_catalog_a_reference_is_a_warning_and_with_a_folder_it_is_looked_up() {
    let (status, out, _) = offline(&["lint", "-"], CALL).await;
    assert_eq!(status, 0);
    assert!(out.starts_with("<stdin>:3:14: warning unresolved-function: "), "{out}");
    let good = folder("set: { a: 1 }\n");
    let good = good.path().to_str().unwrap();
    let (status, out, _) = offline(&["lint", "-", "--functions", good], CALL).await;
    assert_eq!((status, out.as_str()), (0, "<stdin> is well\n"));
    let newer = CALL.replace("1.0.0@", "2.0.0@");
    let (status, out, _) = offline(&["lint", "-", "--functions", good], &newer).await;
    assert_eq!(status, 1);
    assert!(out.contains("error unresolved-function: the catalog has no function"), "{out}");
    let bad = folder("\nwait: soon\n");
    let (status, out, _) =
        offline(&["lint", "-", "--functions", bad.path().to_str().unwrap()], CALL).await;
    assert_eq!(status, 1);
    assert!(
        out.contains("<stdin>:3:14: error invalid-duration: in the function greet:1.0.0, at 2:7"),
        "{out}"
    );
    let (status, _, err) = offline(&["lint", "-", "--functions", "/nowhere"], CALL).await;
    assert_eq!(status, 1);
    assert!(err.contains("/nowhere cannot be read"), "{err}");
}

#[tokio::test]
async fn diagrams_and_scenarios_know_the_functions_of_a_folder() {
    let good = folder("set: { a: 1 }\n");
    let good = good.path().to_str().unwrap();
    let (status, out, err) = offline(&["diagram", "-", "--functions", good], CALL).await;
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("call greet#58;1.0.0"), "{out}");
    let (status, _, err) = offline(&["diagram", "-"], CALL).await;
    assert_eq!(status, 1);
    assert!(err.contains("unresolved-function"), "{err}");

    let scenarios = tempfile::tempdir().unwrap();
    let tests = scenarios.path().join("a.test.yaml");
    fs::write(tests.with_file_name("a.yaml"), CALL).unwrap();
    fs::write(
        &tests,
        "workflow: a.yaml\nscenarios:\n- name: it is greeted\n  expect: { output: { a: 1 } }\n",
    )
    .unwrap();
    let tests = tests.to_str().unwrap();
    let (status, out, err) = offline(&["test", tests, "--functions", good], "").await;
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(offline(&["test", tests], "").await.0, 2);
}
