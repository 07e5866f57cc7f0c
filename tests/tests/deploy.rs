//! The files of `deploy/` are what their readers take.

#![cfg(test)]

use std::path::Path;
use std::process::Command;

use baton_tests::settings;
use saphyr_parser::Parser;

#[test]
fn nats_server_takes_both_settings() {
    for name in ["dev.conf", "production-node.conf", "compose.conf"] {
        // The settings name folders and credentials by relative paths and variables; both are harmless here.
        let folder = tempfile::tempdir().unwrap();
        let config = settings::root().join("deploy/nats").join(name);
        let mut command = Command::new(settings::nats_server().unwrap());
        command.arg("-t").arg("-c").arg(&config).current_dir(folder.path());
        for (variable, value) in
            [("BATON_NODE_NAME", "node-1"), ("BATON_NATS_PASSWORD", "a-password-for-this-test")]
        {
            command.env(variable, value);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn production_writes_to_the_disk_before_it_acknowledges() {
    let text = read("deploy/nats/production-node.conf");
    assert!(text.lines().any(|line| line.trim() == "sync_interval: always"), "{text}");
}

#[test]
fn every_yaml_file_parses() {
    for name in ["deploy/compose.yaml", "deploy/prometheus.yml", "tests/demo/purchase-to-pay.yaml"]
    {
        let text = read(name);
        for event in Parser::new_from_str(&text) {
            if let Err(error) = event {
                panic!("{name}: {error}");
            }
        }
    }
}

/// What compose mounts and builds is in the repository.
#[test]
fn compose_names_files_that_exist() {
    let text = read("deploy/compose.yaml");
    let sources =
        text.lines().filter_map(|line| line.trim().strip_prefix("- ./")?.split(':').next());
    let sources = sources.collect::<Vec<_>>();
    assert!(!sources.is_empty(), "{text}");
    for source in sources {
        assert!(settings::root().join("deploy").join(source).exists(), "deploy/{source}");
    }
}

fn read(name: &str) -> String {
    std::fs::read_to_string(settings::root().join(Path::new(name))).unwrap()
}
