//! Audit files, checked without an engine.

use std::path::{Path, PathBuf};

use baton_proto::{
    chain::chain_value,
    pack::{
        Actions, At, Base64, CaseEvent, Commit, FORMAT, Head, Header, Hex, LINE_BYTES_MAX, Line,
        Place, Scope, Seal,
    },
    signed,
    v1::{
        Batch, CommitBody, Event, InstanceEvents, InstanceStarted, StepCompleted,
        commit_body::Content, event::Kind,
    },
};
use ed25519_dalek::{
    Signer as _, SigningKey,
    pkcs8::{EncodePublicKey as _, spki::der::pem::LineEnding},
};
use prost::Message as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::offline;

const CASE: &str = "07070707-0707-0707-0707-070707070707";

struct Files {
    folder: tempfile::TempDir,
    key: SigningKey,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), key: SigningKey::from_bytes(&[1; 32]) }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn public(&self, key: &SigningKey) -> PathBuf {
        let pem = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
        self.write("public.pem", pem)
    }

    fn header(&self, of: Scope) -> Line {
        Line::Header(Header {
            format: FORMAT.to_owned(),
            of,
            exported_at_ms: 1_769_846_400_000,
            exported_by: "person olga".to_owned(),
            engine: "batond-1".to_owned(),
            key: Hex(self.key.verifying_key().to_bytes()),
        })
    }

    /// With a seal behind them.
    fn sealed(&self, lines: &[Line]) -> String {
        let text: String = lines.iter().map(|line| line.text() + "\n").collect();
        let sha256: [u8; 32] = Sha256::digest(&text).into();
        let signature = Hex(self.key.sign(&signed::seal(&sha256)).to_bytes());
        format!("{text}{}\n", Line::Seal(Seal { sha256: Hex(sha256), signature }).text())
    }

    fn case(&self) -> Vec<Line> {
        let mut lines = vec![self.header(Scope::Case { instance: CASE.to_owned() })];
        let mut actions = Actions::default();
        for (index, event) in (3..).zip(events()) {
            let at = At { partition: 0, index, at_ms: 9 };
            lines.push(Line::Event(CaseEvent {
                partition: 0,
                index,
                body_hash: Hex([2; 32]),
                at_ms: 9,
                event: Base64(event.encode_to_vec()),
            }));
            let action = actions.of_event(at, [7; 16], &event);
            lines.extend(action.map(|action| Line::Action(Box::new(action))));
        }
        lines
    }

    /// One partition of two commits, the first one's head signed, and another one without any.
    fn period(&self) -> Vec<Line> {
        let of = Scope::Period { since_ms: None, until_ms: Some(100), partitions: 2 };
        let mut lines =
            vec![self.header(of), Line::Partition(Place { partition: 0, first: 1, last: 2 })];
        let (mut actions, mut previous) = (Actions::default(), [0; 32]);
        for (index, event) in (1..).zip(events()) {
            let body = body(event, 9);
            let commit = commit(index, previous, &body);
            previous = chain_value(&commit.header());
            lines.push(Line::Commit(commit));
            let told = actions.of_commit(0, index, &body);
            lines.extend(told.into_iter().map(|action| Line::Action(Box::new(action))));
            if index == 1 {
                lines.push(Line::Head(self.head(1, previous)));
            }
        }
        lines.push(Line::Partition(Place { partition: 1, first: 1, last: 0 }));
        lines
    }

    fn head(&self, index: u64, chain: [u8; 32]) -> Head {
        let signature = self.key.sign(&signed::head(0, index, &chain, 10));
        Head {
            partition: 0,
            index,
            chain: Hex(chain),
            at_ms: 10,
            key: Hex(self.key.verifying_key().to_bytes()),
            signature: Hex(signature.to_bytes()),
        }
    }
}

fn events() -> [Event; 2] {
    let completed = StepCompleted { activation: 1, attempt: 1, ..StepCompleted::default() };
    [Kind::InstanceStarted(InstanceStarted::default()), Kind::StepCompleted(completed)]
        .map(|kind| Event { kind: Some(kind) })
}

fn body(event: Event, at_ms: i64) -> CommitBody {
    let instances = vec![InstanceEvents { instance: vec![7; 16], events: vec![event] }];
    CommitBody { at_ms, content: Some(Content::Batch(Batch { instances })), ..Default::default() }
}

fn commit(index: u64, previous: [u8; 32], body: &CommitBody) -> Commit {
    let body = body.encode_to_vec();
    let body_hash = Hex(Sha256::digest(&body).into());
    let previous = Hex(previous);
    Commit { partition: 0, index, epoch: 1, previous, body_hash, body: Base64(body) }
}

async fn verify(file: &Path, more: &[&str]) -> (i32, String) {
    let words = [&["audit", "verify", file.to_str().unwrap()], more].concat();
    let (status, out, err) = offline(&words, "").await;
    assert_eq!(err, "");
    (status, out)
}

async fn codes(file: &Path) -> Vec<(u64, String)> {
    let (status, out) = verify(file, &["-o", "json"]).await;
    let said: Value = serde_json::from_str(&out).unwrap();
    let found = said["findings"].as_array().unwrap().iter();
    let found: Vec<_> = found
        .map(|found| (found["line"].as_u64().unwrap(), found["code"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(status == 0, found.is_empty(), "{out}");
    found
}

#[tokio::test]
async fn a_whole_file_holds_and_says_whose_word_that_is() {
    let files = Files::new();
    let file = files.write("case.audit", files.sealed(&files.case()));
    let (status, out) = verify(&file, &[]).await;
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("is as it was exported: instance 07070707-"), "{out}");
    assert!(out.contains("by person olga from batond-1: 1 actions"), "{out}");
    assert!(out.contains("the key that the file itself names"), "{out}");
    let public = files.public(&files.key);
    let (status, out) = verify(&file, &["--key", public.to_str().unwrap()]).await;
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("the key that you gave"), "{out}");
    let other = files.public(&SigningKey::from_bytes(&[2; 32]));
    let (status, out) = verify(&file, &["--key", other.to_str().unwrap()]).await;
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("case.audit:1: error[unknown-key]: "), "{out}");
    assert!(out.ends_with("it is not as it was exported\n"), "{out}");

    let file = files.write("period.audit", files.sealed(&files.period()));
    let (status, out) = verify(&file, &[]).await;
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("everything from the beginning to 1970-01-01 00:00:00"), "{out}");
    assert!(out.contains("partition 0: commits 1 to 2, up to 1 under signed heads"), "{out}");
    assert!(out.contains("partition 1: none in this period"), "{out}");
}

/// A change that leaves the form of the lines, and is sealed by whoever has the key: what is wrong with it, and where.
type Change = (&'static str, u64, fn(&Files, &mut Vec<Line>));

#[tokio::test]
async fn what_lines_say_of_each_other_is_checked_whoever_sealed_them() {
    // The lines are: header, partition, commit, head, commit, action, partition, seal.
    let changes: [Change; 13] = [
        ("out-of-place", 2, |files, lines| lines.insert(1, files.period().remove(0))),
        ("out-of-place", 3, |_, lines| drop(lines.remove(2))),
        ("missing-lines", 5, |_, lines| drop(lines.drain(4..6))),
        ("missing-lines", 7, |_, lines| drop(lines.remove(6))),
        ("wrong-action", 6, |_, lines| drop(lines.remove(5))),
        ("wrong-action", 4, |_, lines| lines.insert(3, lines[5].clone())),
        ("wrong-action", 6, |_, lines| {
            let Line::Action(action) = &mut lines[5] else { panic!("an action") };
            action.worker = Some("mallory".to_owned());
        }),
        ("broken-chain", 5, |_, lines| {
            let Line::Commit(commit) = &mut lines[4] else { panic!("a commit") };
            commit.previous = Hex([9; 32]);
        }),
        ("wrong-hash", 5, |_, lines| {
            let Line::Commit(commit) = &mut lines[4] else { panic!("a commit") };
            commit.body.0.push(0);
        }),
        ("out-of-place", 5, |_, lines| {
            let Line::Commit(before) = &lines[2] else { panic!("a commit") };
            let [_, completed] = events();
            let late = commit(2, chain_value(&before.header()), &body(completed, 100));
            lines[4] = Line::Commit(late);
        }),
        ("wrong-head", 4, |files, lines| lines[3] = Line::Head(files.head(1, [9; 32]))),
        ("wrong-signature", 4, |_, lines| {
            let Line::Head(head) = &mut lines[3] else { panic!("a head") };
            head.at_ms += 1;
        }),
        ("out-of-place", 7, |_, lines| {
            lines[6] = Line::Partition(Place { partition: 2, first: 1, last: 0 });
        }),
    ];
    let files = Files::new();
    for (number, (code, line, change)) in changes.into_iter().enumerate() {
        let mut lines = files.period();
        change(&files, &mut lines);
        let found = codes(&files.write("changed.audit", files.sealed(&lines))).await;
        assert_eq!(found.first(), Some(&(line, code.to_owned())), "{number}: {found:?}");
    }
    let mut lines = files.case();
    lines.remove(1);
    let found = codes(&files.write("changed.audit", files.sealed(&lines))).await;
    assert_eq!(found.first(), Some(&(2, "missing-lines".to_owned())));
}

#[tokio::test]
async fn what_is_no_audit_file_is_said_to_be_none() {
    let files = Files::new();
    let whole = files.sealed(&files.case());
    assert_eq!(codes(&files.write("a", "")).await, [(0, "no-seal".to_owned())]);
    assert_eq!(codes(&files.write("a", &whole[..whole.len() - 1])).await[0].1, "not-canonical");
    assert_eq!(
        codes(&files.write("a", format!("{whole}\n"))).await,
        [(whole.lines().count() as u64 + 1, "out-of-place".to_owned())]
    );
    let sealed_first = format!("{}\n", whole.lines().last().unwrap());
    assert_eq!(codes(&files.write("a", sealed_first)).await, [(1, "out-of-place".to_owned())]);
    // However long it is: it is read line by line, and no longer than somebody would read.
    let long = codes(&files.write("a", vec![b'x'; 30 * LINE_BYTES_MAX])).await;
    assert_eq!(long.len(), 20);
    assert_eq!(codes(&files.write("a", "\n".repeat(100))).await.len(), 20);
    assert_eq!(codes(&files.write("a", [0xff, b'\n'])).await[0].1, "not-canonical");
}

#[tokio::test]
async fn files_and_keys_that_cannot_be_used_are_named() {
    let files = Files::new();
    let (status, _, err) = offline(&["audit", "verify", "/nowhere/at/all"], "").await;
    assert_eq!(status, 1);
    assert!(err.contains("/nowhere/at/all cannot be read"), "{err}");
    let file = files.write("case.audit", files.sealed(&files.case()));
    let file = file.to_str().unwrap();
    let (status, out, err) = offline(&["audit", "verify", file, "--key", file], "").await;
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("is no Ed25519 public key in PEM"), "{err}");

    let (status, _, err) = offline(&["audit", "export", "--to", file, "-o", "json"], "").await;
    assert_eq!(status, 1);
    assert!(err.contains("\"code\":\"file-exists\""), "{err}");
    // Nothing is written before something comes.
    let (status, _, err) = offline(&["audit", "export", "--to", file, "--force"], "").await;
    assert_eq!(status, 1);
    assert!(err.contains("no engine answers"), "{err}");
    assert_eq!(verify(Path::new(file), &[]).await.0, 0);
    assert_eq!(std::fs::read_dir(files.folder.path()).unwrap().count(), 1);
}
