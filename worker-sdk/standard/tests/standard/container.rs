//! Containers: what the client for them is told, by a client that writes it down.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use baton_standard::Settings;
use baton_worker::testing;
use serde_json::{Value, json};

use super::{call, failure, settings, told, worker, worker_with};

/// A client that shows its arguments and input, and does what the image's name says.
fn client(folder: &Path) -> Settings {
    let path = folder.join("client");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = rm ]; then echo \"$3\" > {0}/removed.new; mv {0}/removed.new {0}/removed; exit; fi\n\
         for argument in \"$@\"; do echo \"$argument\"; done; echo \"A=$A\"; cat\n\
         case \"$*\" in *sleeper*) sleep 1000;; *failing*) exit 125;; esac\n",
        folder.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut settings = settings(&[]);
    settings.processes.container_client = Some(path);
    settings.processes.mounts = vec![folder.join("shared")];
    fs::create_dir_all(folder.join("shared/data")).unwrap();
    settings
}

fn lines(output: &Value) -> Vec<&str> {
    output.as_str().unwrap().lines().collect()
}

#[tokio::test]
async fn an_image_is_run_as_the_workflow_says() {
    let folder = tempfile::tempdir().unwrap();
    let worker = worker_with(client(folder.path()));
    let data = folder.path().join("shared/data").canonicalize().unwrap();
    let input = json!({
        "image": "alpine", "name": "mine", "command": "echo $1", "arguments": ["Foo"], "stdin": "in",
        "ports": {"8080": 80}, "volumes": {data.to_str().unwrap(): "/data", "cache": "/cache"},
        "environment": {"A": "s3cret"}, "lifetime": {"cleanup": "always"}, "pullPolicy": "always",
    });
    let output = call(&worker, "container", input).await;
    let mount = format!("--volume={}:/data", data.display());
    let wanted = [
        "run",
        "--interactive",
        "--name=mine",
        "--rm=true",
        "--pull=always",
        "--publish=8080:80",
        mount.as_str(),
        "--volume=cache:/cache",
        "--env=A",
        "--entrypoint=/bin/sh",
        "alpine",
        "-c",
        "echo $1",
        "sh",
        "Foo",
        "A=s3cret",
        "in",
    ];
    assert_eq!(lines(&output), wanted);
    let plain = call(&worker, "container", json!({"image": "hello-world"})).await;
    let name = "--name=workflow-00000000-0000-0000-0000-000000000000.test-task-1-1";
    assert_eq!(lines(&plain), ["run", "--interactive", name, "hello-world", "A="]);
}

#[tokio::test]
async fn a_container_that_is_no_longer_wanted_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = client(folder.path());
    settings.processes.timeout = Duration::from_millis(500);
    let call = testing::Call::new("container");
    let report =
        call.run(&worker_with(settings), json!({"image": "sleeper", "name": "mine"})).await;
    assert_eq!(report.outcome.unwrap_err().title, "timed-out");
    while !folder.path().join("removed").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(fs::read_to_string(folder.path().join("removed")).unwrap(), "mine\n");
}

#[tokio::test]
async fn what_may_not_be_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let with_client = worker_with(client(folder.path()));
    fs::create_dir_all(folder.path().join("private")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("private"), folder.path().join("shared/link"))
        .unwrap();
    let volume = |source: &str| json!({"image": "alpine", "volumes": {source: "/x"}});
    let shared = folder.path().join("shared");
    for input in [
        volume("/"),
        volume("."),
        volume(shared.join("../private").to_str().unwrap()),
        volume(shared.join("link").to_str().unwrap()),
    ] {
        let failure = failure(&with_client, "container", input).await;
        assert_eq!(told(&failure), ("authorization", "address-refused", 403, false));
    }
    for (input, code) in [
        (json!({"image": "--privileged"}), "invalid-input"),
        (json!({"image": "alpine", "name": "-v"}), "invalid-input"),
        (json!({"image": "alpine", "pullPolicy": "sometimes"}), "invalid-input"),
        (
            json!({"image": "alpine", "lifetime": {"cleanup": "eventually", "after": "PT1M"}}),
            "unsupported-here",
        ),
        (json!({"image": "failing"}), "program-failed"),
    ] {
        assert_eq!(failure(&with_client, "container", input).await.title, code);
    }
    let without = failure(&worker(&[]), "container", json!({"image": "alpine"})).await;
    assert_eq!(told(&without), ("configuration", "program-missing", 400, false));
}
