//! An audit file proves itself: what anybody changes in it, or in the log behind it, shows, and only those get one who may.

#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::Command;

use async_nats::jetstream;
use baton_proto::chain::chain_value;
use baton_proto::pack::{Action, Actions, Hex, Line};
use baton_proto::signed;
use baton_proto::v1::commit_body::Content;
use baton_proto::v1::event::Kind;
use baton_proto::v1::{AnswerApprovalRequest, Commit, CommitBody, ExportRequest, InboxRequest};
use baton_tests::world::code;
use baton_tests::{Api, DEADLINE, Governed, eventually, settings, workflow};
use ed25519_dalek::{Signer, SigningKey};
use prost::Message;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tonic::Code;

const RULES: &str = r#"
@id("the-lab-works")
permit (principal is Baton::Agent, action == Baton::Action::"dispatch", resource in Baton::Department::"lab");

@id("a-manager-approves") @remedy("approval:managers") @due("PT8H") @fallback("escalate:board")
forbid (principal, action == Baton::Action::"dispatch", resource == Baton::Function::"lab.echo")
unless { context.approvals.contains("managers") };

@id("managers-answer")
permit (principal is Baton::Person, action == Baton::Action::"decide", resource is Baton::Instance)
when { principal in context.group };

@id("authors-deploy-and-start")
permit (
  principal in Baton::Group::"authors",
  action in [Baton::Action::"deploy", Baton::Action::"start"],
  resource is Baton::Workflow
);

@id("the-desk-reads-and-exports-cases")
permit (
  principal in Baton::Group::"desk",
  action in [Baton::Action::"read", Baton::Action::"export"],
  resource is Baton::Instance
);

@id("auditors-export-everything")
permit (
  principal in Baton::Group::"auditors",
  action == Baton::Action::"export",
  resource == Baton::Department::"*"
);
"#;

/// An engine that signs, with some instances that have ended, and their heads signed.
struct Audited {
    governed: Governed,
    /// Of the instances; the step of the first one was approved by Bob.
    ids: Vec<String>,
}

impl Audited {
    async fn begin() -> Self {
        let mut governed = Governed::signing(RULES).await.unwrap();
        let anna = governed.person("anna", &["authors"]).unwrap();
        anna.deploy(&workflow::lab("echo", "- echo: { call: echo, with: { name: paid } }"))
            .await
            .unwrap();
        anna.deploy(&workflow::lab("add", "- add: { call: add, with: { n: 1 } }")).await.unwrap();
        let mut ids = vec![anna.start("lab", "echo", "{}", "").await.unwrap().id];
        for number in 0..3 {
            let input = format!(r#"{{"mark":"of-instance-{number}"}}"#);
            ids.push(anna.start("lab", "add", &input, "").await.unwrap().id);
        }
        approve(&governed.person("bob", &["managers"]).unwrap()).await;
        let desk = governed.person("dora", &["desk"]).unwrap();
        for id in &ids {
            assert!(desk.ended(id, DEADLINE).await.unwrap().error.is_none());
        }
        // Where the logs end is signed when the engine stops.
        governed.cluster.batond.terminate().await.unwrap();
        governed.cluster.batond.restart().await.unwrap();
        Self { governed, ids }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.governed.folder().join(name)
    }

    fn key(&self) -> PathBuf {
        self.file("audit-public.pem")
    }

    /// What `baton audit export` writes for somebody.
    fn exported(&self, name: &str, more: &[&str]) -> String {
        let groups = if more.is_empty() { "auditors" } else { "desk" };
        let token = self.governed.authority.token("person", "olga", &[groups]).unwrap();
        let file = self.file(name);
        let output = Command::new(settings::binary("baton").unwrap())
            .args(["audit", "export", "--to"])
            .arg(&file)
            .args(more)
            .env("BATON_URL", self.governed.cluster.batond.url())
            .env("BATON_TOKEN", token)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read_to_string(file).unwrap()
    }

    /// Whether it is as it was exported, as `baton audit verify` says with the engine's key, and all that it says.
    fn verify(&self, bytes: &[u8]) -> (bool, Value) {
        self.verify_with(bytes, &[&self.key()])
    }

    fn verify_with(&self, bytes: &[u8], keys: &[&Path]) -> (bool, Value) {
        let file = self.file("changed.audit");
        std::fs::write(&file, bytes).unwrap();
        let mut command = Command::new(settings::binary("baton").unwrap());
        command.args(["audit", "verify", "-o", "json"]).arg(file);
        for key in keys {
            command.arg("--key").arg(key);
        }
        let output = command.output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let holds = output.status.success();
        assert_eq!(said["valid"], holds, "{said}");
        assert_eq!(said["findings"].as_array().unwrap().is_empty(), holds, "{said}");
        (holds, said)
    }

    /// Somebody has changed it so: it shows.
    fn shows(&self, changed: &[u8], what: &str) {
        let (holds, said) = self.verify(changed);
        assert!(!holds, "{what} shows: {said}");
    }
}

async fn approve(manager: &Api) {
    let approvals = &manager.approvals;
    let asked = async || {
        let inbox = approvals.clone().inbox(InboxRequest::default()).await?.into_inner();
        Ok(inbox.items.into_iter().next())
    };
    let item = eventually(DEADLINE, "a manager is asked", asked).await.unwrap();
    let answer = AnswerApprovalRequest {
        instance: item.instance,
        step: item.step,
        group: item.group,
        digest: item.digest,
        approve: true,
        reason: String::new(),
    };
    approvals.clone().answer(answer).await.unwrap();
}

fn lines(text: &str) -> Vec<Line> {
    text.lines().map(|line| Line::parse(line).unwrap()).collect()
}

fn actions(text: &str) -> Vec<Action> {
    let action = |line| if let Line::Action(action) = line { Some(*action) } else { None };
    lines(text).into_iter().filter_map(action).collect()
}

fn codes(said: &Value) -> Vec<&str> {
    let findings = said["findings"].as_array().unwrap().iter();
    findings.map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_audit_file_with_one_byte_changed() {
    let audited = Audited::begin().await;
    let text = audited.exported("all.audit", &[]);
    let (holds, said) = audited.verify(text.as_bytes());
    assert!(holds, "{said}");
    assert_eq!((&said["actions"], &said["key_given"]), (&4.into(), &true.into()), "{said}");
    for place in said["partitions"].as_array().unwrap() {
        assert!(place["signed_to"].as_u64() > Some(0), "{said}");
    }
    let told = actions(&text);
    let paid = told.iter().find(|action| action.instance == audited.ids[0]).unwrap();
    assert_eq!(paid.approved_by.as_deref(), Some(&["person bob".to_owned()][..]));
    assert_eq!(paid.function.as_deref(), Some("lab.echo"));
    assert_eq!(paid.worker.as_deref(), Some("lab-1"));
    assert_eq!(paid.decision.as_ref().unwrap().policies, ["the-lab-works"]);

    let bytes = text.as_bytes();
    let first_line = text.lines().next().unwrap().len() + 1;
    let last_line = text.len() - text.lines().next_back().unwrap().len() - 1;
    let sampled =
        (0..bytes.len()).filter(|at| *at < first_line || *at >= last_line || at % 97 == 0);
    for at in sampled {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        audited.shows(&changed, &format!("a bit of byte {at}"));
    }
    let whole: Vec<&str> = text.split_inclusive('\n').collect();
    for at in 0..whole.len() {
        let (mut fewer, mut swapped) = (whole.clone(), whole.clone());
        fewer.remove(at);
        audited.shows(fewer.concat().as_bytes(), &format!("a line less, {at}"));
        if at > 0 {
            swapped.swap(at - 1, at);
            audited.shows(swapped.concat().as_bytes(), &format!("two lines swapped, {at}"));
        }
        audited.shows(whole[..at].concat().as_bytes(), &format!("cut before line {at}"));
    }
    audited.shows(&bytes[..bytes.len() - 1], "the last byte missing");
    audited.shows(&[bytes, b"\n"].concat(), "a byte more");
    audited.shows(&[bytes, bytes].concat(), "twice the file");
    audited.governed.end().await.unwrap();
}

/// Approved by somebody else.
fn forge(body: &mut CommitBody) {
    let Some(Content::Batch(batch)) = &mut body.content else { return };
    for event in batch.instances.iter_mut().flat_map(|entry| &mut entry.events) {
        if let Some(Kind::ApprovalAnswered(answered)) = &mut event.kind {
            "person mallory".clone_into(&mut answered.by);
        }
    }
}

/// A file whose commits say something else, with everything recomputed that needs no key.
fn rewritten(text: &str) -> Vec<Line> {
    let (mut chains, mut told) = (std::collections::HashMap::new(), Actions::default());
    let mut changed = Vec::new();
    for mut line in lines(text) {
        match &mut line {
            Line::Commit(commit) => {
                let mut body = CommitBody::decode(commit.body.0.as_slice()).unwrap();
                forge(&mut body);
                commit.body.0 = body.encode_to_vec();
                commit.body_hash = Hex(Sha256::digest(&commit.body.0).into());
                if let Some(chain) = chains.get(&commit.partition) {
                    commit.previous = Hex(*chain);
                }
                chains.insert(commit.partition, chain_value(&commit.header()));
                let (partition, index) = (commit.partition, commit.index);
                changed.push(line);
                let actions = told.of_commit(partition, index, &body);
                changed.extend(actions.into_iter().map(|action| Line::Action(Box::new(action))));
            }
            Line::Action(_) => {}
            Line::Header(_)
            | Line::Partition(_)
            | Line::Event(_)
            | Line::Head(_)
            | Line::Seal(_) => changed.push(line),
        }
    }
    changed
}

/// The file of these lines, sealed by somebody, or with the seal that it had.
fn sealed(mut lines: Vec<Line>, by: Option<&SigningKey>) -> String {
    let Some(Line::Seal(mut seal)) = lines.pop() else { panic!("a seal is last") };
    if let (Some(key), Line::Header(header)) = (by, &mut lines[0]) {
        header.key = Hex(key.verifying_key().to_bytes());
    }
    let text: String = lines.iter().map(|line| line.text() + "\n").collect();
    let sha256: [u8; 32] = Sha256::digest(&text).into();
    seal.sha256 = Hex(sha256);
    if let Some(key) = by {
        seal.signature = Hex(key.sign(&signed::seal(&sha256)).to_bytes());
    }
    format!("{text}{}\n", Line::Seal(seal).text())
}

#[tokio::test]
async fn a_file_rewritten_with_everything_but_the_key() {
    let audited = Audited::begin().await;
    let text = audited.exported("all.audit", &[]);
    assert_eq!(sealed(lines(&text), None), text, "what is not changed comes out the same");

    let (holds, said) = audited.verify(sealed(rewritten(&text), None).as_bytes());
    assert!(!holds);
    let found = codes(&said);
    assert!(found.contains(&"wrong-head") && found.contains(&"wrong-signature"), "{said}");

    // With a key of one's own, and the heads that the engine has signed.
    let mallory = SigningKey::from_bytes(&[7; 32]);
    let own = sealed(rewritten(&text), Some(&mallory));
    assert!(codes(&audited.verify(own.as_bytes()).1).contains(&"unknown-key"));
    let (holds, said) = audited.verify_with(own.as_bytes(), &[]);
    assert!(!holds && codes(&said).contains(&"unknown-key"), "{said}");

    // Without them it is the file of another engine, and it is the key that says so: who gives none is told.
    let bare = rewritten(&text).into_iter().filter(|line| !matches!(line, Line::Head(_)));
    let bare = sealed(bare.collect(), Some(&mallory));
    assert!(codes(&audited.verify(bare.as_bytes()).1).contains(&"unknown-key"));
    let (holds, said) = audited.verify_with(bare.as_bytes(), &[]);
    assert!(holds && said["key_given"] == false, "{said}");
    audited.governed.end().await.unwrap();
}

/// All of a log, with something else in it, chained anew: what somebody can do who has the broker and not the key.
async fn rewrite_log(jetstream: &jetstream::Context, partition: u32) -> bool {
    let name = format!("BATON_LOG_{partition}");
    let stream = jetstream.get_stream(&name).await.unwrap();
    let info = stream.get_info().await.unwrap();
    let (mut commits, mut chain, mut forged) = (Vec::new(), [0; 32], false);
    for sequence in 1..=info.state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let mut commit = Commit::decode(message.payload).unwrap();
        let mut body = CommitBody::decode(commit.body.as_slice()).unwrap();
        forge(&mut body);
        forged |= body.encode_to_vec() != commit.body;
        commit.body = body.encode_to_vec();
        let header = commit.header.as_mut().unwrap();
        header.body_hash = Sha256::digest(&commit.body).to_vec();
        header.previous = chain.to_vec();
        chain = chain_value(header);
        commits.push(commit);
    }
    if forged {
        jetstream.delete_stream(&name).await.unwrap();
        jetstream.create_stream(info.config).await.unwrap();
        for commit in commits {
            let subject = format!("baton.log.{partition}");
            jetstream.publish(subject, commit.encode_to_vec().into()).await.unwrap().await.unwrap();
        }
    }
    forged
}

#[tokio::test]
async fn a_log_rewritten_by_somebody_who_has_the_broker() {
    let mut audited = Audited::begin().await;
    audited.governed.cluster.batond.terminate().await.unwrap();
    let nats = audited.governed.cluster.nats.connect().await.unwrap();
    let jetstream = jetstream::new(nats);
    let mut forged = Vec::new();
    for partition in 0..2 {
        if rewrite_log(&jetstream, partition).await {
            forged.push(partition);
        }
    }
    assert_eq!(forged.len(), 1, "the step was approved in one of them");
    std::fs::remove_dir_all(audited.governed.cluster.batond.data().join("sled")).unwrap();
    // The engine cannot know better: the log is whole. What was signed says otherwise.
    audited.governed.cluster.batond.restart().await.unwrap();
    let text = audited.exported("rewritten.audit", &[]);
    assert!(actions(&text).iter().any(|action| {
        action.approved_by.as_deref() == Some(&["person mallory".to_owned()][..])
    }));
    let (holds, said) = audited.verify(text.as_bytes());
    assert!(!holds && codes(&said).iter().all(|code| *code == "wrong-head"), "{said}");
    let warned = async || {
        let log = audited.governed.cluster.batond.process.tail(1_000);
        Ok(log.contains("A log is not what was signed").then_some(()))
    };
    eventually(DEADLINE, "the engine says so, too", warned).await.unwrap();
    audited.governed.end().await.unwrap();
}

#[tokio::test]
async fn the_file_of_a_case_holds_nothing_of_another() {
    let audited = Audited::begin().await;
    for (number, id) in audited.ids.iter().enumerate() {
        let text = audited.exported(&format!("{number}.audit"), &["--instance", id]);
        let (holds, said) = audited.verify(text.as_bytes());
        assert!(holds, "{said}");
        assert_eq!((&said["actions"], &said["commits"]), (&1.into(), &0.into()), "{said}");
        assert_eq!(said["of"]["case"]["instance"], *id);
        let mut seen = Vec::new();
        for line in lines(&text) {
            match line {
                Line::Event(event) => seen.extend(event.event.0),
                Line::Action(action) => assert_eq!(action.instance, *id),
                Line::Header(_) | Line::Seal(_) => {}
                Line::Partition(_) | Line::Commit(_) | Line::Head(_) => panic!("{line:?}"),
            }
        }
        let seen = String::from_utf8_lossy(&seen).into_owned();
        for other in 0..3 {
            let mark = format!("of-instance-{other}");
            assert_eq!(seen.contains(&mark), other + 1 == number, "{mark} in {number}");
        }
        let whole: Vec<&str> = text.split_inclusive('\n').collect();
        for at in 0..whole.len() {
            let mut fewer = whole.clone();
            fewer.remove(at);
            audited.shows(fewer.concat().as_bytes(), &format!("a line less, {at}"));
        }
    }
    audited.governed.end().await.unwrap();
}

#[tokio::test]
async fn a_period_is_a_part_of_the_whole() {
    let audited = Audited::begin().await;
    let text = audited.exported("all.audit", &[]);
    let all = lines(&text);
    let time = |line: &Line| {
        let Line::Commit(commit) = line else { return None };
        Some(CommitBody::decode(commit.body.0.as_slice()).unwrap().at_ms)
    };
    let mut times: Vec<i64> = all.iter().filter_map(time).collect();
    times.sort_unstable();
    let middle = times[times.len() / 2];
    let olga = audited.governed.person("olga", &["auditors"]).unwrap();
    let at = |ms: i64| {
        let nanos = i32::try_from(ms % 1_000 * 1_000_000).unwrap();
        Some(prost_types::Timestamp { seconds: ms / 1_000, nanos })
    };
    let of = |line: &Line| matches!(line, Line::Commit(_));
    let mut found = 0;
    for (since, until) in [(None, at(middle)), (at(middle), None)] {
        let part = exported(&olga, ExportRequest { since, until, ..Default::default() }).await;
        let (holds, said) = audited.verify(part.as_bytes());
        assert!(holds, "{said}");
        let part = lines(&part);
        assert!(part.iter().filter(|line| of(line)).all(|line| all.contains(line)));
        found += part.iter().filter(|line| of(line)).count();
    }
    assert!(found >= all.iter().filter(|line| of(line)).count(), "none is missing between them");
    let since = at(baton_tests::clock::now_ms() + 3_600_000);
    let none = exported(&olga, ExportRequest { since, ..Default::default() }).await;
    assert_eq!(audited.verify(none.as_bytes()).1["commits"], 0);
    audited.governed.end().await.unwrap();
}

async fn exported(api: &Api, request: ExportRequest) -> String {
    let mut stream = api.audit.clone().export(request).await.unwrap().into_inner();
    let mut text = String::new();
    while let Some(some) = stream.message().await.unwrap() {
        text.push_str(&some.text);
    }
    text
}

/// The code with which an export is refused.
async fn refused(api: &Api, request: ExportRequest) -> (Code, String) {
    let status = api.audit.clone().export(request).await.map(|_| ()).unwrap_err();
    (status.code(), code(&status).to_owned())
}

#[tokio::test]
async fn exporting_what_one_may_not() {
    let audited = Audited::begin().await;
    let everything = ExportRequest::default;
    let case = || ExportRequest { instance: audited.ids[0].clone(), ..everything() };
    let person = |groups: &[&str]| audited.governed.person("hugo", groups).unwrap();
    let forbidden = (Code::PermissionDenied, "forbidden".to_owned());
    assert_eq!(refused(&person(&["visitors"]), everything()).await, forbidden);
    assert_eq!(refused(&person(&["visitors"]), case()).await, forbidden);
    assert_eq!(refused(&person(&["desk"]), everything()).await, forbidden);
    assert_eq!(refused(&person(&["auditors"]), case()).await, forbidden);
    let nobody = Api::new(&audited.governed.cluster.batond.url()).unwrap();
    let unknown = (Code::Unauthenticated, "unauthenticated".to_owned());
    assert_eq!(refused(&nobody, everything()).await, unknown);
    assert_eq!(refused(&nobody, case()).await, unknown);
    let both = ExportRequest { since: Some(prost_types::Timestamp::default()), ..case() };
    assert_eq!(refused(&person(&["desk"]), both).await.1, "invalid-argument");
    let nothing = "01990000-0000-7000-8000-000000000000".to_owned();
    let nothing = ExportRequest { instance: nothing, ..everything() };
    assert_eq!(refused(&person(&["desk"]), nothing).await.1, "unknown-instance");
    audited.governed.end().await.unwrap();
}

#[tokio::test]
async fn an_engine_without_a_key_exports_nothing_and_says_that_it_is_weak() {
    let governed = Governed::begin(RULES).await.unwrap();
    let olga = governed.person("olga", &["auditors"]).unwrap();
    let wanted = (Code::FailedPrecondition, "no-audit-key".to_owned());
    assert_eq!(refused(&olga, ExportRequest::default()).await, wanted);
    let weak = "the log's heads are not signed";
    assert!(olga.status().await.unwrap().weaknesses.iter().any(|found| found == weak));
    governed.end().await.unwrap();
    let governed = Governed::signing(RULES).await.unwrap();
    let olga = governed.person("olga", &["auditors"]).unwrap();
    assert!(olga.status().await.unwrap().weaknesses.iter().all(|found| found != weak));
    governed.end().await.unwrap();
}
