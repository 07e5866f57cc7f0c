//! The pages say what is so: links lead somewhere, commands exist, and workflows deploy.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

use baton_proto::v1::DeployRequest;
use baton_tests::{Cluster, Setup, settings};

/// Folders of the repository that hold no pages of ours.
const ELSEWHERE: [&str; 2] = ["target", "node_modules"];

/// Every Markdown file of the repository.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut folders = vec![settings::root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with('.') || ELSEWHERE.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(found)) => open = Some((found == language, String::new())),
            (Some(_), Some(_)) => {
                blocks.extend(open.take().filter(|(wanted, _)| *wanted).map(|(_, block)| block));
            }
            (Some((_, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// What the links of a page lead to.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|after| after.split(')').next())
}

/// As a heading's place is called in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}

fn anchors(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = read(&page);
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let found = target.exists()
                && (heading.is_empty() || anchors(&read(&target)).iter().any(|a| a == heading));
            if !found {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_readme_names_targets_that_exist() {
    let makefile = read(&settings::root().join("Makefile"));
    let readme = read(&settings::root().join("README.md"));
    let is_target = |name: &str| makefile.lines().any(|line| line.starts_with(&format!("{name}:")));
    let commands = readme
        .lines()
        .flat_map(|line| line.split('`'))
        .filter_map(|part| part.strip_prefix("make "));
    let names = commands
        .flat_map(str::split_whitespace)
        .filter(|word| !word.contains('='))
        .collect::<Vec<_>>();
    assert!(names.contains(&"demo") && names.contains(&"test"), "{names:?}");
    for name in names {
        assert!(is_target(name), "make {name}");
    }
}

#[test]
fn the_readmes_worker_is_the_example() {
    let example = read(&settings::root().join("worker-sdk/rust/examples/ten_lines.rs"));
    let (_, example) = example.split_once("\n\n").unwrap();
    let readme = read(&settings::root().join("README.md"));
    assert_eq!(blocks(&readme, "rust"), [example]);
}

#[tokio::test]
async fn every_workflow_of_the_pages_deploys_without_a_warning() {
    let cluster = Cluster::start(Setup::default()).await.unwrap();
    let mut definitions = cluster.api().unwrap().definitions;
    let mut deployed = 0;
    for page in pages() {
        for source in blocks(&read(&page), "yaml") {
            if !source.starts_with("document:") {
                continue;
            }
            let answer = definitions.deploy(DeployRequest { source: source.clone() }).await;
            let answer = answer
                .unwrap_or_else(|refused| panic!("{}: {refused}\n{source}", page.display()))
                .into_inner();
            assert!(answer.warnings.is_empty(), "{}: {:?}", page.display(), answer.warnings);
            deployed += 1;
        }
    }
    assert!(deployed > 0, "no page has a workflow");
    cluster.stop().await.unwrap();
}
