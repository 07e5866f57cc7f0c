//! The program as it is typed.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_baton-standard")).args(arguments).env_clear().output().unwrap()
}

#[test]
fn help_tells_every_option_with_its_variable_and_examples() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for (option, variable) in [
        ("--department", "BATON_DEPARTMENT"),
        ("--serve", "BATON_STANDARD_SERVE"),
        ("--nats", "BATON_NATS_URL"),
        ("--nats-password", "BATON_NATS_PASSWORD"),
        ("--secrets", "BATON_SECRETS_DIR"),
        ("--allow-host", "BATON_STANDARD_ALLOW_HOST"),
        ("--allow-private", "BATON_STANDARD_ALLOW_PRIVATE"),
        ("--resolve", "BATON_STANDARD_RESOLVE"),
        ("--timeout-ms", "BATON_STANDARD_TIMEOUT_MS"),
        ("--program-timeout-ms", "BATON_STANDARD_PROGRAM_TIMEOUT_MS"),
        ("--container-client", "BATON_STANDARD_CONTAINER_CLIENT"),
    ] {
        assert!(help.contains(option) && help.contains(&format!("[env: {variable}")), "{option}");
    }
    assert!(
        help.contains("Examples:")
            && help.contains("[possible values: http, openapi, grpc, shell, script, container]")
    );
}

#[test]
fn settings_that_cannot_be_right_are_refused() {
    for arguments in [
        &[][..],
        &["--department", "finance", "--serve", "magic"],
        &["--department", "finance", "--allow-host", "https://host"],
        &["--department", "finance", "--resolve", "host"],
        &["--department", "finance", "--timeout-ms", "0"],
        &["--department", "finance", "--nats-password", "x"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}
