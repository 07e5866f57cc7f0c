//! The bytes of `worker-sdk/fixtures` are what this wire says, for ever: workers in other languages test against them.

#![cfg(test)]

use std::{fmt::Write as _, fs, path::PathBuf};

use baton_proto::v1;
use prost::Message;

const INSTANCE: [u8; 16] = [
    0x01, 0x93, 0xb0, 0xc4, 0x7a, 0x00, 0x70, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x2a,
];
const TOKEN: [u8; 16] = [
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
];
const STARTED_MS: i64 = 1_733_900_000_000;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// Encoding gives the file's bytes, decoding them gives the message, and the document shows the same bytes.
fn check<M: Message + Default + PartialEq + std::fmt::Debug>(name: &str, message: &M) {
    let wanted = message.encode_to_vec();
    let path = fixtures().join(format!("{name}.bin"));
    let bytes = fs::read(&path)
        .unwrap_or_else(|error| panic!("{} should be there: {error}", path.display()));
    assert_eq!(hex(&bytes), hex(&wanted), "{name} is encoded otherwise than its fixture");
    assert_eq!(&M::decode(bytes.as_slice()).unwrap(), message);

    let description = fs::read_to_string(fixtures().join(format!("{name}.json"))).unwrap();
    let description: serde_json::Value = serde_json::from_str(&description).unwrap();
    assert_eq!(description["hex"], hex(&wanted), "{name}.json shows other bytes");
    let document = fixtures().join("../../docs/protocol.md");
    let shown: String = fs::read_to_string(document).unwrap().split_whitespace().collect();
    assert!(
        shown.contains(&hex(&wanted)),
        "docs/protocol.md does not show the bytes of {name}: {}",
        hex(&wanted)
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn a_step_command_is_these_bytes() {
    let command = v1::StepCommand {
        instance: INSTANCE.to_vec(),
        step: 3,
        attempt: 1,
        function: "finance.check-budget".into(),
        input: br#"{"amount":250}"#.to_vec(),
        token: TOKEN.to_vec(),
        reply_subject: "baton.in.0.finance".into(),
        deadline_ms: STARTED_MS + 60_000,
        idempotency_key: "0193b0c4-7a00-7000-8000-00000000002a/3".into(),
        task: "checkBudget".into(),
        workflow: "finance/purchase:1.0.0".into(),
        ask_first: false,
        ..Default::default()
    };
    check("step-command", &command);
}

#[test]
fn a_result_batch_is_these_bytes() {
    let success = v1::StepResult {
        instance: INSTANCE.to_vec(),
        step: 3,
        attempt: 1,
        token: TOKEN.to_vec(),
        outcome: Some(v1::step_result::Outcome::Output(br#"{"ok":true}"#.to_vec())),
        worker: "finance-1".into(),
        service: "finance-worker".into(),
        started_ms: STARTED_MS,
        finished_ms: STARTED_MS + 12,
        cost: 0,
    };
    let failure = v1::Failure {
        r#type: baton_worker::RUNTIME_ERROR.into(),
        status: 503,
        title: "ledger away".into(),
        detail: "no answer in 2 s".into(),
        retryable: true,
    };
    let failed = v1::StepResult {
        step: 4,
        attempt: 2,
        outcome: Some(v1::step_result::Outcome::Failure(failure)),
        ..success.clone()
    };
    check("result-batch", &v1::ResultBatch { results: vec![success, failed] });
}

#[test]
fn an_announcement_is_these_bytes() {
    let offer = v1::FunctionOffer {
        name: "check-budget".into(),
        input_schema: r#"{"type":"object"}"#.into(),
        output_schema: String::new(),
        effect: "read".into(),
        owner: "finance-managers".into(),
    };
    let announcement = v1::Announcement {
        worker: "finance-1".into(),
        build: "1.4.2".into(),
        department: "finance".into(),
        functions: vec![offer],
    };
    check("announcement", &announcement);
}

#[test]
fn an_attempt_query_is_these_bytes() {
    let query = v1::AttemptQuery {
        instance: INSTANCE.to_vec(),
        step: 3,
        attempt: 1,
        token: TOKEN.to_vec(),
    };
    check("attempt-query", &query);
}
