//! Shell commands and scripts: real programs.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use baton_worker::testing;
use serde_json::{Value, json};

use super::{call, failure, service::Service, settings, told, worker, worker_with};

#[tokio::test]
async fn a_command_gives_back_what_is_asked_for() {
    let worker = worker(&[]);
    let command = "printf out; printf err >&2; exit $1";
    let input = |returned: &str, code: u8| json!({"command": command, "arguments": [code], "return": returned});
    for (returned, wanted) in [
        ("stdout", json!("out")),
        ("stderr", json!("err")),
        ("code", json!(0)),
        ("none", Value::Null),
    ] {
        assert_eq!(call(&worker, "shell", input(returned, 0)).await, wanted);
    }
    assert_eq!(call(&worker, "shell", json!({"command": "echo hello"})).await, json!("hello\n"));
    assert_eq!(
        call(&worker, "shell", input("all", 3)).await,
        json!({"code": 3, "stdout": "out", "stderr": "err"})
    );
    assert_eq!(call(&worker, "shell", input("code", 3)).await, json!(3));
    let killed = json!({"command": "kill -9 $$", "return": "code"});
    assert_eq!(call(&worker, "shell", killed).await, json!(137));
    for returned in ["stdout", "stderr", "none"] {
        let failure = failure(&worker, "shell", input(returned, 3)).await;
        assert_eq!(told(&failure), ("runtime", "program-failed", 500, false));
        assert_eq!(failure.detail, "the program ended with code 3: err");
    }
}

#[tokio::test]
async fn a_command_has_what_was_given_and_nothing_else() {
    let worker = worker(&[]);
    let input = json!({
        "command": "cat; echo \"$1|$2|$A|$B|$CARGO_MANIFEST_DIR|$(ls -A)\"",
        "stdin": "in;", "arguments": ["Foo Bar", 5], "environment": {"A": "a b", "B": true},
    });
    assert_eq!(call(&worker, "shell", input).await, json!("in;Foo Bar|5|a b|true||\n"));
    let structured = json!({"command": "cat", "stdin": {"a": [1]}});
    assert_eq!(call(&worker, "shell", structured).await, json!(r#"{"a":[1]}"#));
    let variables =
        call(&worker, "shell", json!({"command": "env | cut -d= -f1 | sort | tr '\\n' ' '"})).await;
    assert_eq!(variables, json!("HOME PATH PWD "));
    for input in [
        json!({"command": "a\0b"}),
        json!({"command": "a", "arguments": [{"a": 1}]}),
        json!({"command": "a", "environment": {"A=B": "c"}}),
        json!({"arguments": []}),
    ] {
        assert_eq!(failure(&worker, "shell", input).await.title, "invalid-input");
    }
}

#[tokio::test]
async fn a_command_that_ignores_its_input_or_says_too_much_does_not_hang() {
    let mut settings = settings(&[]);
    settings.processes.output_bytes_max = 1000;
    let worker = worker_with(settings);
    let ignored = json!({"command": "echo done", "stdin": "x".repeat(200_000)});
    assert_eq!(call(&worker, "shell", ignored).await, json!("done\n"));
    for command in ["yes", "yes >&2", "head -c 1001 /dev/zero"] {
        let failure = failure(&worker, "shell", json!({ "command": command })).await;
        assert_eq!(told(&failure), ("runtime", "program-output-too-large", 500, false));
    }
    let fits = call(&worker, "shell", json!({"command": "head -c 1000 /dev/zero"})).await;
    assert_eq!(fits.as_str().map(str::len), Some(1000));
}

/// A command that starts another, which outlives it, and writes down both.
fn lingering(folder: &Path) -> Value {
    let pids = folder.join("pids");
    json!({"command": format!("sleep 1000 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", pids.display())})
}

async fn written(path: &Path) -> String {
    loop {
        if let Ok(text) = fs::read_to_string(path) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn all_gone(pids: &str) {
    let running = |pid: &str| {
        // What was killed and not yet waited for by its new parent does not run any more.
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    };
    while pids.split_whitespace().any(running) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_command_and_all_that_it_started_end_at_the_deadline_and_when_they_are_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let mut short = settings(&[]);
    short.processes.timeout = Duration::from_millis(500);
    let began = Instant::now();
    let slow = failure(&worker_with(short), "shell", lingering(folder.path())).await;
    assert_eq!(told(&slow), ("timeout", "timed-out", 408, true));
    assert!(began.elapsed() < Duration::from_secs(30));
    all_gone(&written(&folder.path().join("pids")).await).await;
    fs::remove_file(folder.path().join("pids")).unwrap();

    let step = testing::Call::new("shell");
    let cancellation = step.cancellation.clone();
    let (worker, pids) = (worker(&[]), folder.path().join("pids"));
    let (report, pids) = tokio::join!(step.run(&worker, lingering(folder.path())), async {
        let pids = written(&pids).await;
        cancellation.cancel();
        pids
    });
    assert_eq!(report.outcome.unwrap_err().title, "cancelled");
    all_gone(&pids).await;
}

#[tokio::test]
async fn what_a_command_leaves_running_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let command = format!("sleep 1000 & echo $! > {}; echo done", pids.display());
    assert_eq!(call(&worker(&[]), "shell", json!({ "command": command })).await, json!("done\n"));
    all_gone(&written(&pids).await).await;
}

#[tokio::test]
async fn a_command_that_nobody_awaits_runs_on() {
    let folder = tempfile::tempdir().unwrap();
    let (go, done) = (folder.path().join("go"), folder.path().join("done"));
    let command = format!(
        "while [ ! -e {} ]; do sleep 0.01; done; echo yes > {1}.new; mv {1}.new {1}",
        go.display(),
        done.display()
    );
    let input = json!({"command": command, "await": false});
    assert_eq!(call(&worker(&[]), "shell", input).await, Value::Null);
    assert!(!done.exists());
    fs::write(go, "").unwrap();
    assert_eq!(written(&done).await, "yes\n");
}

#[tokio::test]
async fn scripts_run_where_their_interpreter_is() {
    let source = || async { "import sys; print(sys.stdin.read() + sys.argv[2])" };
    let service = Service::start(Router::new().route("/s.py", get(source))).await;
    let worker = worker(&[&service.host()]);
    let js = "const [_, __, a, b] = process.argv; console.log(a, b, process.env.C)";
    let js =
        json!({"language": "js", "code": js, "arguments": ["x", 1], "environment": {"C": "c"}});
    assert_eq!(call(&worker, "script", js).await, json!("x 1 c\n"));
    let python = json!({
        "language": "python", "source": {"endpoint": {"uri": service.url("/s.py")}}, "stdin": "in ", "arguments": ["a", "b"],
    });
    assert_eq!(call(&worker, "script", python).await, json!("in b\n"));
    let broken = json!({"language": "python", "code": "raise ValueError('no')"});
    let broken = failure(&worker, "script", broken).await;
    assert_eq!(told(&broken), ("runtime", "program-failed", 500, false));
    assert!(broken.detail.ends_with("ValueError: no"), "{}", broken.detail);
}

#[tokio::test]
async fn a_script_that_cannot_run_says_why() {
    let mut settings = settings(&[]);
    settings.processes.node = "/nowhere/node".into();
    let worker = worker_with(settings);
    for (input, wanted) in [
        (json!({"language": "js", "code": "1"}), ("configuration", "program-missing", 400, false)),
        (
            json!({"language": "cobol", "code": "1"}),
            ("configuration", "unsupported-here", 400, false),
        ),
        (json!({"language": "python"}), ("validation", "invalid-input", 400, false)),
        (
            json!({"language": "python", "source": {"endpoint": {"uri": "http://127.0.0.1:1/s.py"}}}),
            ("authorization", "address-refused", 403, false),
        ),
    ] {
        assert_eq!(told(&failure(&worker, "script", input).await), wanted);
    }
}
