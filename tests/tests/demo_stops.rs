//! The demo takes everything along that it started, however it ends itself.

#![cfg(test)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use baton_tests::{DEADLINE, eventually};
use rustix::process::{Pid, Signal, kill_process};

#[tokio::test]
async fn sigterm_ends_the_demo_and_all_its_processes() {
    let (folder, mut demo) = at_work();
    kill_process(Pid::from_child(&demo), Signal::TERM).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(130));
    all_gone(folder.path()).await;
    let left = std::fs::read_dir(folder.path()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        !name.to_string_lossy().starts_with("baton-ports")
    });
    assert_eq!(left.count(), 0, "its temporary folder is gone too");
}

#[tokio::test]
async fn sigkill_leaves_no_process_behind() {
    let (folder, mut demo) = at_work();
    assert!(running(folder.path()) > 1);
    demo.kill().unwrap();
    demo.wait().unwrap();
    all_gone(folder.path()).await;
}

/// A demo that has begun with the requisitions, and the folder that it calls temporary.
fn at_work() -> (tempfile::TempDir, Child) {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_baton-demo"))
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(demo.stderr.take().unwrap()).lines() {
        said.push(line.unwrap());
        if said.last().is_some_and(|line| line.ends_with(" requisitions")) {
            return (folder, demo);
        }
    }
    demo.wait().unwrap();
    panic!("the demo ended before it began: {}", said.join("\n"));
}

async fn all_gone(folder: &Path) {
    let gone = async || Ok((running(folder) == 0).then_some(()));
    eventually(DEADLINE, "everything that the demo started is gone", gone).await.unwrap();
}

/// How many processes know the folder, by their command line or environment.
fn running(folder: &Path) -> usize {
    let name = folder.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter(|entry| {
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        entry.file_name().to_string_lossy().parse::<u32>().is_ok()
            && ["cmdline", "environ"]
                .iter()
                .any(|file| String::from_utf8_lossy(&read(file)).contains(name))
    });
    processes.count()
}
