//! The sentences that a scenario is made of: first those of the language's conformance kit, then our own.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use baton_proto::v1::{Diagnostic, Status};
use cucumber::gherkin::Step;
use cucumber::{given, then, when};
use serde_json::Value;

use crate::history::{End, Passage};
use crate::scene::{Scene, at, expect_error, expect_same};
use crate::yaml;

/// A step fails with the whole chain of reasons as its text.
type Said = Result<(), String>;

trait Tell {
    fn tell(self) -> Said;
}

impl<T> Tell for Result<T> {
    fn tell(self) -> Said {
        self.map(drop).map_err(|error| format!("{error:#}"))
    }
}

/// The text below a sentence, without the word that says what it is.
fn text(step: &Step) -> Result<&str> {
    let text = step.docstring.as_deref().context("the sentence wants a text below it")?;
    let text = text.trim_start_matches('\n');
    let bare = text.strip_prefix("yaml").or_else(|| text.strip_prefix("json"));
    Ok(bare.and_then(|bare| bare.strip_prefix('\n')).unwrap_or(text))
}

fn value(step: &Step) -> Result<Value> {
    yaml::parse(text(step)?)
}

#[given("a workflow with definition:")]
fn a_workflow(scene: &mut Scene, step: &Step) -> Said {
    text(step).and_then(|source| scene.define(source)).tell()
}

#[given(regex = "^(?:given )?the workflow input is:$")]
fn an_input(scene: &mut Scene, step: &Step) -> Said {
    text(step).and_then(|input| scene.give(input)).tell()
}

#[when("the workflow is executed")]
async fn executed(scene: &mut Scene) -> Said {
    async {
        scene.start().await?;
        scene.finish().await
    }
    .await
    .tell()
}

#[then(regex = "^the workflow should (complete|fault|cancel)$")]
async fn ends(scene: &mut Scene, end: String) -> Said {
    let status = match end.as_str() {
        "complete" => Status::Completed,
        "fault" => Status::Faulted,
        _ => Status::Cancelled,
    };
    scene.ends_as(status).await.tell()
}

#[then("the workflow should complete with output:")]
async fn completes_with(scene: &mut Scene, step: &Step) -> Said {
    async { expect_same(&value(step)?, &scene.output().await?) }.await.tell()
}

#[then("the workflow should fault with error:")]
async fn faults_with(scene: &mut Scene, step: &Step) -> Said {
    async { expect_error(&value(step)?, &scene.error().await?) }.await.tell()
}

#[then(regex = "^the workflow output should have properties ('.+')$")]
async fn has_properties(scene: &mut Scene, paths: String) -> Said {
    async {
        let output = scene.output().await?;
        for path in paths.split(',') {
            at(&output, path.trim().trim_matches('\''))?;
        }
        Ok(())
    }
    .await
    .tell()
}

#[then(regex = "^the workflow output should have a '(.+)' property with value:$")]
async fn has_value(scene: &mut Scene, step: &Step, path: String) -> Said {
    async { expect_same(&value(step)?, at(&scene.output().await?, &path)?) }.await.tell()
}

#[then(regex = r"^the workflow output should have a '(.+)' property containing (\d+) items$")]
async fn has_items(scene: &mut Scene, path: String, count: usize) -> Said {
    async {
        let output = scene.output().await?;
        let items = at(&output, &path)?.as_array().context("a list was wanted")?;
        ensure!(items.len() == count, "{count} items were wanted, and {} found", items.len());
        Ok(())
    }
    .await
    .tell()
}

#[then(regex = r"^(\S+) should run (first|last)$")]
async fn runs_at(scene: &mut Scene, task: String, place: String) -> Said {
    async {
        let passages = scene.history().await?.passages;
        let found = if place == "first" { passages.first() } else { passages.last() };
        let found = found.map(|passage| passage.task.as_str());
        ensure!(found == Some(&task), "{found:?} ran {place}");
        Ok(())
    }
    .await
    .tell()
}

#[then(regex = r"^(\S+) should run (before|after) (\S+)$")]
async fn runs_in_order(scene: &mut Scene, one: String, order: String, other: String) -> Said {
    async {
        let passages = scene.history().await?.passages;
        let (one, other) = (place(&passages, &one)?, place(&passages, &other)?);
        ensure!((one < other) == (order == "before"), "the other way round");
        Ok(())
    }
    .await
    .tell()
}

/// Of the last passage: an extended task is entered with what runs before it inside.
fn place(passages: &[Passage], task: &str) -> Result<usize> {
    let found = passages.iter().rposition(|passage| passage.task == task);
    found.with_context(|| format!("{task} did not run"))
}

#[then(regex = r"^(\S+) should (complete|fault|cancel)$")]
async fn task_ends(scene: &mut Scene, task: String, end: String) -> Said {
    async {
        scene.finish().await?;
        let found = scene.end_of(&task).await?;
        let as_wanted = match &found {
            End::Completed(_) => end == "complete",
            End::Faulted(_) => end == "fault",
            End::Open => end == "cancel",
        };
        ensure!(as_wanted, "its end was {found:?}");
        Ok(())
    }
    .await
    .tell()
}

#[then(regex = r"^(\S+) should complete with output:$")]
async fn task_completes_with(scene: &mut Scene, step: &Step, task: String) -> Said {
    async {
        match scene.end_of(&task).await? {
            End::Completed(output) => expect_same(&value(step)?, &output),
            other @ (End::Open | End::Faulted(_)) => bail!("its end was {other:?}"),
        }
    }
    .await
    .tell()
}

#[then(regex = r"^(\S+) should fault with error:$")]
async fn task_faults_with(scene: &mut Scene, step: &Step, task: String) -> Said {
    async {
        match scene.end_of(&task).await? {
            End::Faulted(error) => expect_error(&value(step)?, &error),
            other @ (End::Open | End::Completed(_)) => bail!("its end was {other:?}"),
        }
    }
    .await
    .tell()
}

// Our own from here on.

#[given("another workflow is deployed:")]
async fn another_workflow(scene: &mut Scene, step: &Step) -> Said {
    async { scene.deploy_other(text(step)?).await }.await.tell()
}

#[given(regex = "^a function '(.+)' of the default catalog:$")]
async fn a_function(scene: &mut Scene, step: &Step, name: String) -> Said {
    async { scene.deploy_function(&name, text(step)?).await }.await.tell()
}

#[when("the workflow is deployed")]
async fn deployed(scene: &mut Scene) -> Said {
    scene.deploy().await.tell()
}

#[then(regex = r"^(\d+) instances of the workflow should be started within (\d+) ms$")]
async fn starts_itself(scene: &mut Scene, count: usize, ms: u64) -> Said {
    scene.starts_itself(count, Duration::from_millis(ms)).await.tell()
}

#[when("the workflow is started")]
async fn started(scene: &mut Scene) -> Said {
    scene.start().await.tell()
}

#[when(regex = "^the workflow is (suspended|resumed|cancelled)$")]
async fn steered(scene: &mut Scene, how: String) -> Said {
    let done = match how.as_str() {
        "suspended" => scene.suspend().await,
        "resumed" => scene.resume().await,
        _ => scene.cancel().await,
    };
    done.tell()
}

#[when(regex = "^the worker holds '(.+)'$")]
async fn holds(scene: &mut Scene, name: String) -> Said {
    scene.held(&name).await.tell()
}

#[when(regex = "^the worker lets '(.+)' go$")]
#[expect(clippy::needless_pass_by_value, reason = "cucumber hands over what it has read")]
fn lets_go(scene: &mut Scene, name: String) -> Said {
    scene.release(&name).tell()
}

#[then(regex = "^the workflow should be (running|waiting|suspended)$")]
async fn comes_to(scene: &mut Scene, phase: String) -> Said {
    let status = match phase.as_str() {
        "running" => Status::Running,
        "waiting" => Status::Waiting,
        _ => Status::Suspended,
    };
    scene.comes_to(status).await.tell()
}

#[then(regex = "^the workflow should be refused with '(.+)' at '(.*)'$")]
async fn refused(scene: &mut Scene, code: String, pointer: String) -> Said {
    async { expect_finding(&scene.findings().await?, &code, &pointer) }.await.tell()
}

#[then(regex = "^the author should be warned of '(.+)' at '(.*)'$")]
async fn warned(scene: &mut Scene, code: String, pointer: String) -> Said {
    async { expect_finding(&scene.validate().await?, &code, &pointer) }.await.tell()
}

fn expect_finding(findings: &[Diagnostic], code: &str, pointer: &str) -> Result<()> {
    let found = findings.iter().any(|found| found.code == code && found.pointer == pointer);
    ensure!(found, "{code} at {pointer} is not among {findings:?}");
    Ok(())
}

#[when("this event is published:")]
async fn published(scene: &mut Scene, step: &Step) -> Said {
    async { scene.publish(value(step)?).await }.await.tell()
}

#[then(regex = "^the event '(.+)' should be published$")]
async fn told(scene: &mut Scene, kind: String) -> Said {
    scene.told(&kind).await.tell()
}

#[then(regex = "^the start should be refused with '(.+)'$")]
#[expect(clippy::needless_pass_by_value, reason = "cucumber hands over what it has read")]
fn start_refused(scene: &mut Scene, code: String) -> Said {
    let found = scene.start_refusal();
    let check = |found: &str| {
        ensure!(found == code, "it was refused with {found}");
        Ok(())
    };
    found.and_then(check).tell()
}

#[then(regex = r"^the workflow should take (at least|less than) (\d+) ms$")]
async fn takes(scene: &mut Scene, bound: String, ms: i64) -> Said {
    async {
        let took = scene.took_ms().await?;
        ensure!((took >= ms) == (bound == "at least"), "it took {took} ms");
        Ok(())
    }
    .await
    .tell()
}

#[then(regex = r"^(\S+) should run (\d+) times$")]
async fn runs_times(scene: &mut Scene, task: String, times: usize) -> Said {
    async {
        let passages = scene.history().await?.passages;
        let found = passages.iter().filter(|passage| passage.task == task).count();
        ensure!(found == times, "it ran {found} times");
        Ok(())
    }
    .await
    .tell()
}

#[then(regex = r"^(\S+) should be answered$")]
async fn answered(scene: &mut Scene, task: String) -> Said {
    scene.answered(&task).await.tell()
}

#[then(regex = r"^(\S+) should be skipped$")]
async fn skipped(scene: &mut Scene, task: String) -> Said {
    async {
        let history = scene.history().await?;
        ensure!(history.skipped.contains(&task), "only these were: {:?}", history.skipped);
        Ok(())
    }
    .await
    .tell()
}

#[then(regex = r"^(\S+) should have (\d+) attempts?$")]
async fn attempts(scene: &mut Scene, task: String, count: u32) -> Said {
    async {
        let found = passage(scene, &task).await?.attempts;
        ensure!(found == count, "it had {found}");
        Ok(())
    }
    .await
    .tell()
}

#[then(regex = r"^(\S+) should ask '(.+)' for:$")]
async fn asks(scene: &mut Scene, step: &Step, task: String, function: String) -> Said {
    async {
        let found = passage(scene, &task).await?;
        ensure!(found.function == function, "it asked {:?}", found.function);
        expect_same(&value(step)?, &found.arguments)
    }
    .await
    .tell()
}

/// The last passage through a task.
async fn passage(scene: &Scene, task: &str) -> Result<Passage> {
    let passages = scene.history().await?.passages;
    let found = passages.into_iter().rfind(|passage| passage.task == task);
    found.with_context(|| format!("{task} did not run"))
}
