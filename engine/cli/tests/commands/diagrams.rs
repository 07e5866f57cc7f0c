//! Workflows as Mermaid text.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::offline;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The workflows of the pages, and the demo's.
fn examples() -> Vec<String> {
    let mut found =
        vec![fs::read_to_string(root().join("tests/demo/purchase-to-pay.yaml")).unwrap()];
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for page in pages.chain([root().join("README.md")]).filter(|page| page.extension().is_some()) {
        if page.is_dir() {
            continue;
        }
        let text = fs::read_to_string(page).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
        found.extend(blocks.filter(|block| block.starts_with("document:")).map(Into::into));
    }
    assert!(found.len() > 3, "the pages have workflows");
    found
}

/// What names a node: the letters and digits before its bracket.
fn id(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len())]
}

/// Every line is a node, an edge between nodes that there are, or the begin or end of a group; nothing in a label could
/// be taken for anything else. Gives how many nodes there are.
fn check(text: &str) -> usize {
    let (mut nodes, mut groups, mut edges, mut depth) =
        (BTreeSet::new(), BTreeSet::new(), Vec::new(), 0_usize);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("flowchart TD"));
    for line in lines.map(str::trim) {
        let labels: Vec<_> = line.split('"').collect();
        assert!(matches!(labels.len(), 1 | 3), "{line}");
        if let Some(label) = labels.get(1) {
            let text = label.replace("<br/>", "");
            for (place, _) in text.match_indices('#') {
                let entity = text[place + 1..].split(';').next().unwrap();
                assert!(entity.parse::<u32>().is_ok(), "{line}");
            }
            assert!(
                !text.contains(['`', '<', '>', '|', '{', '}', '[', ']', '(', ')', ':']),
                "{line}"
            );
        }
        if line == "end" {
            depth = depth.checked_sub(1).expect("a group ends that has begun");
        } else if let Some(group) = line.strip_prefix("subgraph ") {
            depth += 1;
            assert!(groups.insert(id(group)), "{line}");
        } else if line.contains(" --> ") || line.contains(">|") {
            let to = line.rsplit(' ').next().unwrap();
            edges.push((id(line), to));
        } else {
            assert!(nodes.insert(id(line)), "{line}");
            let bare = format!("{}{}", labels[0], labels[2]);
            let brackets = bare.strip_prefix(id(line)).unwrap();
            assert!((2..=6).contains(&brackets.len()), "{line}");
        }
    }
    assert_eq!(depth, 0, "{text}");
    assert!(nodes.is_disjoint(&groups), "{text}");
    for (from, to) in edges {
        assert!(nodes.contains(from) || groups.contains(from), "{from} in {text}");
        assert!(nodes.contains(to), "{to} in {text}");
    }
    nodes.len()
}

async fn draw(source: &str, words: &[&str]) -> String {
    let words: Vec<_> = ["diagram", "-"].iter().chain(words).copied().collect();
    let (status, out, err) = offline(&words, source).await;
    assert_eq!((status, err.as_str()), (0, ""), "{source}");
    out
}

#[tokio::test]
async fn every_example_can_be_drawn() {
    for source in examples() {
        check(&draw(&source, &[]).await);
        let nodes = check(&draw(&source, &["--short"]).await);
        assert!((1..=7).contains(&nodes), "{nodes}");
    }
}

const ODD: &str = r#"
document: { dsl: 1.0.3, namespace: n, name: odd, version: 1.0.0 }
use:
  functions:
    own: { do: [ { deep: { call: other, if: .x } } ] }
    other: { set: { a: 1 } }
do:
- "end": { set: { a: 1 } }
- "a\"b]|{}<>&#;`%%": { call: own }
- "style a:#b;": { wait: { days: 1 } }
- "graph": { for: { in: '.x | "q\"|" ', each: x }, while: $x > 1, do: [] }
- "subgraph": { for: { in: .x }, do: [ { "click": { switch: [ { "x|y": { when: .a, then: exit } }, { d: { then: next } } ] } }, { next: { wait: PT1S } } ] }
- "日本 größe": { fork: { compete: true, branches: [ { a: { do: [] } }, { b: { try: [], catch: { then: exit } } }, { c: { fork: { branches: [] } } } ] } }
- nested: { do: [ { do: { if: .y, do: [ { again: { set: { a: 1 }, then: exit } } ] } } ], then: "日本 größe" }
- t: { try: [ { r: { raise: { error: { type: x, status: 400 } } } } ], catch: { retry: { delay: PT1S }, do: [ { h: { set: { a: 1 }, then: end } } ], then: last } }
- last: { if: '.a == "x;y" #c', set: { a: 1 } }
"#;

#[tokio::test]
async fn names_and_expressions_cannot_break_the_drawing() {
    let text = draw(ODD, &[]).await;
    check(&text);
    // Where a list is left, a function returns and an error goes.
    for line in [
        r#"t5 -->|"each"| t6"#,
        r#"t6 -->|"x#124;y"| t5"#,
        "t7 --> t5",
        "t11join --> t8join",
        r#"t13if -->|"no"| t8"#,
        "t14 --> t8",
        r#"s15 -.->|"error"| t15catch"#,
        r#"t15catch -.->|"retry"| t16"#,
        "t17 --> finish",
        r#"t2 -.->|"runs"| t21if"#,
        r#"t21if -->|"no"| t20back"#,
    ] {
        assert!(text.lines().any(|found| found.trim() == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn a_short_drawing_has_seven_nodes_at_most() {
    let text = draw(ODD, &["--short"]).await;
    assert_eq!(check(&text), 7, "{text}");
    assert!(text.contains("more[\"… 3 more\"]") && text.contains("t18[\"last\"]"), "{text}");
    assert!(text.contains("t5 --> more") && !text.contains("more --> more"), "{text}");
    let few = |count: usize| {
        let tasks: Vec<_> =
            (0..count).map(|n| format!("- t{n}: {{ set: {{ a: 1 }} }}\n")).collect();
        let list = if count == 0 { "[]".to_owned() } else { format!("\n{}", tasks.concat()) };
        format!("document: {{ dsl: 1.0.3, namespace: n, name: a, version: 1.0.0 }}\ndo: {list}\n")
    };
    for (count, nodes) in [(0, 1), (1, 1), (7, 7), (8, 7), (50, 7)] {
        let text = draw(&few(count), &["--short"]).await;
        assert_eq!(check(&text), nodes, "{text}");
    }
}

#[tokio::test]
async fn a_workflow_with_errors_is_not_drawn() {
    let (status, out, err) = offline(&["diagram", "-"], "do: []\n").await;
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(
        err.starts_with("<stdin>:1:1: error missing-key")
            && err.ends_with("error: <stdin> has errors\n"),
        "{err}"
    );
    let (_, _, err) = offline(&["diagram", "-", "-o", "json"], "do: []\n").await;
    assert!(err.starts_with("{\"error\":{\"code\":\"invalid-workflow\""), "{err}");
}

#[tokio::test]
async fn a_map_is_drawn_as_a_loop_of_so_many_at_once() {
    let source = r"document: { dsl: '1.0.3', namespace: n, name: a, version: 1.0.0 }
do:
- all: { call: map, with: { in: .x, each: order, concurrency: 3, do: [ { a: { if: .y, set: { b: 1 } } }, { c: { call: map, with: { in: ., do: [] } } } ] } }
";
    let text = draw(source, &[]).await;
    check(&text);
    for line in [
        r#"t1{{"all<br/>for each order in .x<br/>3 at once"}}"#,
        r#"t1 -->|"each"| t3if"#,
        r#"t3if -->|"no"| t4"#,
        r#"t4 -->|"each"| t5"#,
        "t5 --> t4",
        r#"t4 -->|"done"| t1"#,
        r#"t1 -->|"done"| finish"#,
    ] {
        assert!(text.lines().any(|found| found.trim() == line), "{line}\n{text}");
    }
}
