//! What is wrong with a set is found before anybody is asked, and whatever errs denies.

#![cfg(test)]

use baton_policy::{Question, Set, Verdict, set::Texts};

const PERMIT: &str = "@id(\"p\") permit (principal is Baton::Agent, action == Baton::Action::\"dispatch\", resource);\n";

fn check(more: &str, code: &str, line: u32) {
    let texts = Texts::from([("rules.cedar".to_owned(), format!("{PERMIT}{more}"))]);
    let findings = Set::compile(&texts).map_or_else(|findings| findings, |set| set.warnings);
    let found = findings.iter().find(|finding| finding.code == code);
    let found = found.unwrap_or_else(|| panic!("no {code}: {findings:#?}"));
    assert_eq!((found.line, found.file.as_str()), (line, "rules.cedar"), "{found}");
}

const HEAD: &str = "(principal is Baton::Agent, action == Baton::Action::\"dispatch\", resource)";

#[test]
fn each_mistake_has_its_code_and_its_place() {
    check("permit (principal, action", "policy-syntax", 2);
    check(&format!("permit {HEAD};"), "policy-without-id", 0);
    check(&format!("@id(\"p\") permit {HEAD};"), "duplicate-id", 1);
    check("@id(\"q\") permit (principal == ?principal, action, resource);", "policy-template", 0);
    let rule =
        |annotations: &str, rest: &str| format!("@id(\"q\") {annotations} forbid {HEAD} {rest};");
    check(&rule("", "when { context.amonut > 1 }"), "policy-invalid", 2);
    check(&rule("", "when { context.amount > \"1\" }"), "policy-invalid", 2);
    check(
        &rule("", "when { resource.effect == \"x\" && context.amount > 1 && false }"),
        "policy-doubtful",
        2,
    );
    for annotations in [
        "@remedy(\"pray:for-it\")",
        "@remedy(\"approval:\")",
        "@remdy(\"mask:a\")",
        "@quorum(\"2\")",
        "@remedy(\"approval:g\") @quorum(\"0\") @fallback(\"escalate:l\")",
        "@remedy(\"approval:g\") @fallback(\"later\")",
    ] {
        let rest = "unless { context.approvals.contains(\"g\") }";
        check(&rule(annotations, rest), "annotation-invalid", 2);
    }
    check(&format!("@id(\"q\") @remedy(\"mask:a\") permit {HEAD};"), "annotation-invalid", 2);
    let unless = "unless { context.approvals.contains(\"g\") }";
    check(&rule("@remedy(\"approval:g\")", unless), "remedy-without-fallback", 2);
    let other = "@remedy(\"approval:other\") @fallback(\"escalate:l\")";
    check(&rule(other, unless), "remedy-lifts-nothing", 2);
    let approval = "@remedy(\"approval:g\") @fallback(\"escalate:l\")";
    for lifts_nothing in [
        "when { context.approvals.contains(\"g\") }",
        "unless { context.approvals.contains(\"h\") && context.customer == \"g\" }",
    ] {
        check(&rule(approval, lifts_nothing), "remedy-lifts-nothing", 2);
    }
    check(&rule("@remedy(\"mask:a\") @fallback(\"mask:a\")", unless), "annotation-invalid", 2);
    // Otherwise what is not known would let the step out.
    check(&rule("", "when { context has amount && context.amount > 1 }"), "asks-for-facts", 2);
    let long = format!("when {{ {} false }}", "true && ".repeat(2_000));
    check(&rule("", &long), "policy-too-large", 1);
    let deep = format!("when {{ {}true{} }}", "(".repeat(100), ")".repeat(100));
    check(&rule("", &deep), "policy-too-large", 2);
}

#[test]
fn a_set_without_policies_and_entities_that_are_none_are_refused() {
    let codes = |texts: Texts| -> Vec<&str> {
        let findings = Set::compile(&texts).unwrap_err();
        findings.iter().map(|finding| finding.code).collect()
    };
    assert_eq!(codes(Texts::new()), ["no-policy"]);
    let rules = ("a.cedar".to_owned(), PERMIT.to_owned());
    for broken in
        ["", "[1]", r#"[{"uid":{"type":"Baton::Nobody","id":"x"},"attrs":{},"parents":[]}]"#]
    {
        let texts = Texts::from([rules.clone(), ("entities.json".to_owned(), broken.to_owned())]);
        assert_eq!(codes(texts), ["entities-invalid"], "{broken}");
    }
    // What comes with each question is not the set's to tell.
    let function =
        r#"[{"uid":{"type":"Baton::Function","id":"d.f"},"attrs":{"effect":"read"},"parents":[]}]"#;
    let group = |id: u32, of: u32| {
        format!(
            r#"{{"uid":{{"type":"Baton::Group","id":"{id}"}},"attrs":{{}},"parents":[{{"type":"Baton::Group","id":"{of}"}}]}}"#
        )
    };
    let deep = (0..20).map(|n| group(n, n + 1)).collect::<Vec<_>>().join(",");
    let circle = [group(1, 2), group(2, 1)].join(",");
    for refused in [function.to_owned(), format!("[{deep}]"), format!("[{circle}]")] {
        let texts = Texts::from([rules.clone(), ("entities.json".to_owned(), refused)]);
        assert_eq!(codes(texts), ["entities-invalid"]);
    }
    let elsewhere = Texts::from([rules.clone(), ("a/entities.json".to_owned(), "[]".to_owned())]);
    assert_eq!(codes(elsewhere), ["entities-invalid"]);
    let large = Texts::from([("a.cedar".to_owned(), " ".repeat(1024 * 1024))]);
    assert_eq!(codes(large), ["set-too-large"]);
}

fn ask(rules: &str, facts: &str) -> (Verdict, Vec<String>) {
    let set = Set::compile(&Texts::from([("a.cedar".to_owned(), rules.to_owned())])).unwrap();
    let question: Question = serde_json::from_str(&format!(
        r#"{{"principal":{{"agent":"a"}},"action":"dispatch","resource":{{"function":"d.f","effect":"read"}},"facts":{facts}}}"#
    ))
    .unwrap();
    let decision = set.decide(&question);
    (decision.verdict, decision.errors)
}

#[test]
fn whatever_errs_denies() {
    let forbid = format!("{PERMIT}@id(\"f\") forbid {HEAD} when {{ context.amount > 10 }};");
    assert_eq!(ask(&forbid, r#"{"amount":5}"#), (Verdict::Allow, vec![]));
    // Cedar alone would pass over the policy that errs, and allow.
    let (verdict, errors) = ask(&forbid, "{}");
    assert_eq!((verdict, errors.len()), (Verdict::Deny, 1), "{errors:?}");
    let (verdict, errors) = ask(&forbid, r#"{"amount":"much"}"#);
    assert_eq!((verdict, errors.len()), (Verdict::Deny, 1), "{errors:?}");
    for no_fact in [
        r#"{"amount":1.5}"#,
        r#"{"amount":{"a":1}}"#,
        r#"{"amount":[1]}"#,
        r#"{"amount":9223372036854775808}"#,
    ] {
        let (verdict, errors) = ask(&forbid, no_fact);
        assert_eq!((verdict, errors.len()), (Verdict::Deny, 1), "{errors:?}");
    }
    // Cedar says of values of two types that they differ, and would let the step out.
    let new = format!("{PERMIT}@id(\"f\") forbid {HEAD} when {{ context.customer == \"new\" }};");
    for other in ["1", "[\"new\"]", "{\"person\":\"new\"}", "true"] {
        let (verdict, errors) = ask(&new, &format!(r#"{{"customer":{other}}}"#));
        assert_eq!((verdict, errors.len()), (Verdict::Deny, 1), "{errors:?}");
    }
    let (verdict, errors) = ask(PERMIT, r#"{"amuont":1}"#);
    assert_eq!((verdict, errors.len()), (Verdict::Deny, 1), "{errors:?}");
    let overflow = format!("{PERMIT}@id(\"f\") forbid {HEAD} when {{ context.amount * 2 > 10 }};");
    let (verdict, errors) = ask(&overflow, &format!(r#"{{"amount":{}}}"#, i64::MAX));
    assert_eq!((verdict, errors.len()), (Verdict::Deny, 1), "{errors:?}");
    // An agent of whom nobody said what kind it is.
    let kind =
        format!("{PERMIT}@id(\"f\") forbid {HEAD} when {{ principal.kind == \"read-only\" }};");
    assert_eq!(ask(&kind, "{}").0, Verdict::Deny);
}

#[test]
fn the_hash_is_of_what_decides() {
    let hash = |texts: &[(&str, &str)]| {
        let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Set::compile(&texts.collect()).unwrap().sha256
    };
    let one = hash(&[("a.cedar", PERMIT)]);
    assert_eq!(
        one,
        hash(&[("a.cedar", PERMIT), ("cases/a.yaml", "cases: []"), ("README.md", "x")])
    );
    assert_ne!(one, hash(&[("a.cedar", &format!("{PERMIT} "))]));
    assert_ne!(one, hash(&[("b.cedar", PERMIT)]));
    assert_ne!(one, hash(&[("a.cedar", PERMIT), ("entities.json", "[]")]));
}

const AGENTS: &str = r#"[
  { "uid": { "type": "Baton::Agent", "id": "d.bold" }, "attrs": { "kind": "write", "confidenceMax": 80 }, "parents": [] },
  { "uid": { "type": "Baton::Agent", "id": "d.shy" }, "attrs": { "kind": "write", "confidenceMax": 0 }, "parents": [] },
  { "uid": { "type": "Baton::Agent", "id": "d.free" }, "attrs": { "kind": "write" }, "parents": [] },
  { "uid": { "type": "Baton::Worker", "id": "d.worker" }, "attrs": {}, "parents": [] }
]"#;

fn with_entities(entities: &str) -> Texts {
    [("a.cedar", PERMIT), ("entities.json", entities)]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into()
}

#[test]
fn the_least_that_was_agreed_with_any_agent_is_what_its_confidence_counts() {
    let set = Set::compile(&with_entities(AGENTS)).unwrap();
    assert_eq!(set.confidence_max(["d.bold"]), Some(80));
    assert_eq!(set.confidence_max(["d.free", "d.bold", "d.shy"]), Some(0));
    assert_eq!(set.confidence_max(["d.free", "d.worker", "d.unknown"]), None);
    let nothing = Set::compile(&with_entities("[]")).unwrap();
    assert_eq!(nothing.confidence_max(["d.bold"]), None);
}

#[test]
fn a_bound_of_confidence_is_a_percentage() {
    for (bound, holds) in [("0", true), ("100", true), ("-1", false), ("101", false)] {
        let entities = AGENTS.replace("80", bound);
        let found = Set::compile(&with_entities(&entities)).map_err(|findings| findings[0].code);
        assert_eq!(found.map(|_| ()), if holds { Ok(()) } else { Err("entities-invalid") });
    }
    let text = AGENTS.replace("80", "\"80\"");
    assert_eq!(Set::compile(&with_entities(&text)).unwrap_err()[0].code, "entities-invalid");
}

#[test]
fn what_the_schema_does_not_have_is_denied_whatever_is_permitted() {
    let all = "@id(\"p\") permit (principal, action, resource);";
    let set = Set::compile(&Texts::from([("a.cedar".to_owned(), all.to_owned())])).unwrap();
    let verdict = |principal: &str, action: &str, resource: &str| {
        let text =
            format!(r#"{{"principal":{principal},"action":"{action}","resource":{resource}}}"#);
        set.decide(&serde_json::from_str::<Question>(&text).unwrap()).verdict
    };
    let (person, bot) = (r#"{"person":"a"}"#, r#"{"agent":"a","kind":"write"}"#);
    assert_eq!(verdict(person, "kill", r#"{"department":"d"}"#), Verdict::Allow);
    assert_eq!(verdict(bot, "kill", r#"{"department":"d"}"#), Verdict::Deny);
    assert_eq!(verdict(person, "start", r#"{"department":"d"}"#), Verdict::Deny);
    assert_eq!(verdict(bot, "dispatch", r#"{"function":"d.f","effect":"read"}"#), Verdict::Allow);
    // A name without an owner would escape what is said of its owner.
    for name in ["f", "d.e.f", ".f", "d."] {
        let function = format!(r#"{{"function":"{name}","effect":"read"}}"#);
        assert_eq!(verdict(bot, "dispatch", &function), Verdict::Deny, "{name}");
    }
}

#[test]
fn nothing_lifts_what_no_permit_allows() {
    let rules = format!(
        "@id(\"f\") @remedy(\"mask:a\") forbid {HEAD} unless {{ context.masked.contains(\"a\") }};"
    );
    assert_eq!(ask(&rules, r#"{"masked":[]}"#).0, Verdict::Deny);
    let (verdict, _) = ask(&format!("{PERMIT}{rules}"), r#"{"masked":[]}"#);
    assert!(matches!(verdict, Verdict::DenyUnless(_)), "{verdict:?}");
}

#[test]
fn one_policy_without_a_remedy_keeps_it_forbidden() {
    let rules = format!(
        "{PERMIT}@id(\"f\") @remedy(\"mask:a\") forbid {HEAD} unless {{ context.masked.contains(\"a\") }};"
    );
    let (verdict, _) = ask(&rules, r#"{"masked":[]}"#);
    assert!(matches!(verdict, Verdict::DenyUnless(_)), "{verdict:?}");
    let never = format!("{rules}@id(\"never\") forbid {HEAD};");
    assert_eq!(ask(&never, r#"{"masked":[]}"#).0, Verdict::Deny);
    assert_eq!(ask(&never, r#"{"masked":["a"]}"#).0, Verdict::Deny);
}

#[test]
fn each_fact_of_the_schema_can_be_told() {
    let facts =
        baton_policy::SCHEMA.split("type Facts = {").nth(1).unwrap().split("};").next().unwrap();
    let facts = facts.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(": "));
    let mut told = 0;
    for (name, kind) in facts.chain([("author", "Person"), ("group", "Group")]) {
        let value = match kind {
            "Long" => "1",
            "String" | "Group" => "\"a\"",
            "Set<String>" => "[\"a\"]",
            "Person" => "{\"person\":\"a\"}",
            other => panic!("{name} is a {other}"),
        };
        assert_eq!(
            ask(PERMIT, &format!(r#"{{"{name}":{value}}}"#)),
            (Verdict::Allow, vec![]),
            "{name}"
        );
        told += 1;
    }
    assert_eq!(told, 23);
}

#[test]
fn the_longest_and_deepest_policies_are_checked_and_end() {
    let forms = [
        ("true && ", "true"),
        ("1 + ", "1 == 1"),
        ("if true then true else ", "true"),
        ("!", "true"),
        ("-", "1 == 1"),
        ("(", "true"),
        ("[", "1"),
        ("{a: ", "1"),
        ("context.approvals.contains(\"a\") || ", "true"),
    ];
    for (part, end) in forms {
        for count in [40, 7_000 / part.len(), 100_000] {
            let policy =
                format!("@id(\"q\") forbid {HEAD} when {{ {}{end} }};", part.repeat(count));
            let texts = Texts::from([("a.cedar".to_owned(), format!("{PERMIT}{policy}"))]);
            // Whatever it is called, it is called something, and what is well was held against the schema.
            let _ = Set::compile(&texts);
        }
    }
    let misspelt = format!("{}context.amonut > 1", "true && ".repeat(900));
    let policy = format!("@id(\"q\") forbid {HEAD} when {{ {misspelt} }};");
    let texts = Texts::from([("a.cedar".to_owned(), format!("{PERMIT}{policy}"))]);
    let findings = Set::compile(&texts).unwrap_err();
    assert!(findings.iter().any(|finding| finding.code == "policy-invalid"), "{findings:#?}");
    // Members of members, as far as they go.
    let members = format!("context{} == 1", ".a".repeat(3_500));
    let policy = format!("@id(\"q\") forbid {HEAD} when {{ {members} }};");
    let texts = Texts::from([("a.cedar".to_owned(), format!("{PERMIT}{policy}"))]);
    assert!(Set::compile(&texts).is_err());
}
