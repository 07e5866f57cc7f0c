//! The program from outside, against a small engine that speaks the API.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod diagrams;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod functions;
#[cfg(test)]
mod lint;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod scenarios;

use std::process::{Output, Stdio};

use tokio::{io::AsyncWriteExt as _, process::Command};

/// The exit status, the standard output and the standard error of `baton WORDS`, with a text on its standard input.
#[expect(clippy::unwrap_used, reason = "only tests call it")]
async fn baton_given(url: &str, words: &[&str], stdin: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_baton"))
        .args(words)
        .env("BATON_URL", url)
        .env_remove("BATON_JAEGER_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).await.unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().await.unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// The same with an engine of its own.
async fn baton(words: &[&str]) -> (i32, String, String) {
    baton_given(&engine::serve().await.to_string(), words, "").await
}

/// The same where no engine can be reached: port 1 is privileged and unused.
async fn offline(words: &[&str], stdin: &str) -> (i32, String, String) {
    baton_given("127.0.0.1:1", words, stdin).await
}

#[tokio::test]
async fn a_start_that_waits_prints_the_result_and_survives_a_broken_connection() {
    let (status, out, err) =
        baton(&["start", "sales/order", "--key", "completes", "--wait", "-o", "json"]).await;
    let output = r#"{"paid":1234567890.12345678901234567890,"big":18446744073709551616}"#;
    assert_eq!(
        out,
        format!(
            "{{\"id\":\"completes\",\"status\":\"completed\",\"output\":{output},\"error\":null}}\n"
        )
    );
    assert_eq!((status, err.as_str()), (0, ""));
}

#[tokio::test]
async fn a_fault_is_status_three_with_problem_details() {
    let (status, out, _) =
        baton(&["start", "sales/order", "--key", "faults", "--wait", "-o", "json"]).await;
    let problem =
        r#"{"type":"https://example.com/over-budget","status":400,"title":"Over budget"}"#;
    assert_eq!(
        out,
        format!(
            "{{\"id\":\"faults\",\"status\":\"faulted\",\"output\":null,\"error\":{problem}}}\n"
        )
    );
    assert_eq!(status, 3);
}

#[tokio::test]
async fn a_wait_has_an_end() {
    let (status, out, _) =
        baton(&["start", "sales/order", "--key", "runs", "--wait-ms", "300", "-o", "json"]).await;
    assert_eq!(out, "{\"id\":\"runs\",\"status\":\"running\",\"output\":null,\"error\":null}\n");
    assert_eq!(status, 1);
}

#[tokio::test]
async fn a_start_without_waiting_prints_the_id() {
    let (status, out, _) = baton(&["start", "sales/order", "--key", "runs", "-o", "json"]).await;
    assert_eq!((status, out.as_str()), (0, "{\"id\":\"runs\",\"created\":true}\n"));
    assert_eq!(baton(&["start", "sales/order", "--key", "runs"]).await.1, "runs\n");
}

#[tokio::test]
async fn a_refusal_is_status_two_with_its_stable_code() {
    let (status, out, err) = baton(&["start", "nobody/order", "-o", "json"]).await;
    assert_eq!((status, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "{\"error\":{\"code\":\"unknown-workflow\",\"message\":\"no such workflow is deployed\"}}\n"
    );
    let (status, _, err) = baton(&["show", "nothing"]).await;
    assert_eq!(
        (status, err.as_str()),
        (2, "error: there is no such instance (unknown-instance)\n")
    );
}

#[tokio::test]
async fn without_an_engine_it_says_what_to_start() {
    let (status, _, err) = offline(&["list"], "").await;
    assert_eq!(status, 1);
    assert!(
        err.contains("no engine answers at http://127.0.0.1:1") && err.contains("baton dev"),
        "{err}"
    );
    let (status, out, _) = offline(&["doctor", "-o", "json"], "").await;
    assert_eq!(status, 1);
    assert!(out.contains("\"reachable\":false"), "{out}");
}

#[tokio::test]
async fn a_line_that_cannot_be_understood_is_status_one() {
    let (status, _, err) = baton(&["start", "no-namespace"]).await;
    assert_eq!(status, 1);
    assert!(err.contains("wanted NS/NAME"), "{err}");
    let (status, _, err) = baton(&["start", "no-namespace", "-o", "json"]).await;
    assert_eq!(status, 1);
    assert!(err.starts_with("{\"error\":{\"code\":\"usage\""), "{err}");
    assert_eq!(baton(&["--help"]).await.0, 0);
}

#[tokio::test]
async fn a_list_pages_through() {
    let count = |out: &str| out.matches("\"id\":\"completes\"").count();
    let (_, out, _) = baton(&["list", "-o", "json"]).await;
    assert_eq!((count(&out), out.contains("\"more\":true")), (100, true));
    let (_, out, _) = baton(&["list", "-o", "json", "--limit", "1100"]).await;
    assert_eq!((count(&out), out.contains("\"more\":true")), (1_100, true));
    let (_, out, _) = baton(&["list", "-o", "json", "--limit", "0"]).await;
    assert_eq!((count(&out), out.contains("\"more\":false")), (1_200, true));
}

#[tokio::test]
async fn history_and_watch_give_all_events_once() {
    let (_, out, _) = baton(&["history", "completes", "-o", "json"]).await;
    assert_eq!(out.matches("\"kind\":").count(), 2, "{out}");
    let (status, out, _) = baton(&["watch", "completes", "-o", "json"]).await;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((status, lines.len()), (0, 2), "{out}");
    assert!(
        lines[0].contains("\"instance-started\"") && lines[1].contains("\"instance-completed\""),
        "{out}"
    );
}

#[tokio::test]
async fn show_links_to_the_trace() {
    let (status, out, _) =
        baton(&["show", "completes", "--jaeger-url", "http://jaeger:16686"]).await;
    assert_eq!(status, 0);
    assert!(out.contains("http://jaeger:16686/trace/0123456789abcdef0123456789abcdef"), "{out}");
    assert!(out.contains("sales/order:1.0.0  completed"), "{out}");
    let (_, out, _) = baton(&["show", "completes", "-o", "json"]).await;
    assert!(
        out.contains("\"timeline\":[]") && out.contains("\"input\":{\"amount\":0.10}"),
        "{out}"
    );
}

#[tokio::test]
async fn a_refused_deployment_points_at_the_place() {
    let url = engine::serve().await.to_string();
    let (status, _, err) = baton_given(&url, &["deploy", "-"], "nonsense: 1").await;
    assert_eq!(status, 2);
    assert!(
        err.contains("<stdin>:1:1: error missing-key")
            && err.contains("    1 | nonsense: 1\n      | ^\n")
            && err.contains("(invalid-workflow)"),
        "{err}"
    );
    let (status, _, err) = baton_given(&url, &["deploy", "-", "-o", "json"], "nonsense: 1").await;
    assert_eq!(status, 2);
    assert!(err.contains("\"code\":\"invalid-workflow\"") && err.contains("\"line\":1"), "{err}");
    let (status, out, _) = baton_given(&url, &["deploy", "-"], "document: {}").await;
    assert_eq!((status, out.as_str()), (0, "deployed  sales/order:1.0.0\n"));
}

#[tokio::test]
async fn doctor_says_what_is_wrong() {
    let (status, out, _) = baton(&["doctor"]).await;
    assert_eq!(status, 1);
    assert!(
        out.contains("steps wait for finance.charge") && out.contains("hint: start a worker"),
        "{out}"
    );
}

#[tokio::test]
async fn a_completion_script_is_made_without_an_engine() {
    let (status, out, _) = offline(&["completion", "bash"], "").await;
    assert_eq!(status, 0);
    for word in ["_baton()", "diagram", "--short", "lint", "--engine", "junit sarif"] {
        let word = word.split(' ').all(|word| out.contains(word));
        assert!(word, "{out}");
    }
}
