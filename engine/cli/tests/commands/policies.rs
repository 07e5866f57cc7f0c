//! Sets of policies, checked and tried out without an engine.

use std::fs;

use serde_json::Value;

use crate::offline;

const RULES: &str = "@id(\"all\") permit (principal, action, resource);
@id(\"much\") @remedy(\"approval:managers\") @fallback(\"escalate:board\")
forbid (principal, action == Baton::Action::\"dispatch\", resource)
when { context.amount > 10 } unless { context.approvals.contains(\"managers\") };
";

const CASES: &str = "cases:
- name: little
  principal: { agent: a, kind: write }
  action: dispatch
  resource: { function: d.f, effect: write }
  facts: { amount: 10 }
  expect: allow
- name: much
  principal: { agent: a, kind: write }
  action: dispatch
  resource: { function: d.f, effect: write }
  facts: { amount: 11, approvals: [] }
  expect: EXPECTED
";

fn folder(rules: &str, cases: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("cases")).unwrap();
    fs::write(folder.path().join("rules.cedar"), rules).unwrap();
    fs::write(folder.path().join("cases/all.yaml"), cases).unwrap();
    folder
}

async fn policy(what: &str, folder: &tempfile::TempDir, more: &[&str]) -> (i32, String, String) {
    let path = folder.path().to_str().unwrap();
    offline(&[&["policy", what, path], more].concat(), "").await
}

#[tokio::test]
async fn a_set_is_checked_and_a_mistake_is_shown_where_it_stands() {
    let good = folder(RULES, CASES);
    let (status, out, err) = policy("check", &good, &[]).await;
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("is well: 2 policies, sha256 "), "{out}");
    let bad = folder(&RULES.replace("amount", "amuont"), CASES);
    let (status, out, _) = policy("check", &bad, &[]).await;
    assert_eq!(status, 1);
    assert!(out.contains("rules.cedar:2:1: error[policy-invalid]"), "{out}");
    let (status, out, _) = policy("check", &bad, &["-o", "json"]).await;
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &found["valid"]), (1, &Value::Bool(false)));
    assert_eq!(found["findings"][0]["line"], 2, "{out}");
}

#[tokio::test]
async fn cases_that_come_out_otherwise_say_why() {
    let good = folder(RULES, &CASES.replace("EXPECTED", "{ remedies: [\"approval:managers\"] }"));
    let (status, out, err) = policy("test", &good, &[]).await;
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(out.ends_with("2 of 2 cases hold\n"), "{out}");
    let wrong = folder(RULES, &CASES.replace("EXPECTED", "deny"));
    let (status, out, _) = policy("test", &wrong, &[]).await;
    assert_eq!(status, 1);
    let said = "FAILED cases/all.yaml: much
         wanted deny, given deny unless approval:managers
         because of much
1 of 2 cases hold
";
    assert!(out.ends_with(said), "{out}");
    let (status, out, _) = policy("test", &wrong, &["-o", "json"]).await;
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &found["passed"], &found["cases"]), (1, &1.into(), &2.into()), "{out}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_no_success() {
    for (rules, cases) in [
        (RULES, "cases: []"),
        (RULES, "nothing"),
        (RULES, "cases: [ { name: a, expect: allow } ]"),
        ("permit", CASES),
    ] {
        let (status, out, _) = policy("test", &folder(rules, cases), &[]).await;
        assert_eq!(status, 2, "{out}");
    }
    let (status, out, err) = offline(&["policy", "test", "/nowhere/at/all"], "").await;
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("/nowhere/at/all cannot be read"), "{err}");
}
