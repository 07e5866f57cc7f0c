//! One scenario as it runs: its workflow, its instance, and what became of them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use baton_proto::v1::{
    CancelRequest, Definition, DeployFunctionRequest, DeployRequest, Diagnostic, Error, Instance,
    ListRequest, PublishEventRequest, ResumeRequest, StartRequest, Status, SuspendRequest,
    ValidateRequest,
};
use baton_tests::{eventually, world};
use cucumber::World;
use serde_json::Value;

use crate::history::{self, End, History, Passage};
use crate::stage::Stage;
use crate::yaml;

/// How long an instance may take to end, or to come to a phase.
const PATIENCE: Duration = Duration::from_secs(20);

/// The version that a scenario writes; it is deployed under one of its own.
const VERSION: &str = "version: '1.0.0'";

#[derive(Debug, Default, World)]
pub(crate) struct Scene {
    stage: Option<Stage>,
    source: String,
    /// JSON text; empty: none was given.
    input: String,
    outcome: Outcome,
}

/// How far it has come.
#[derive(Debug, Default)]
enum Outcome {
    #[default]
    Nothing,
    /// The document does not deploy.
    Undeployed(tonic::Status),
    Deployed(Definition),
    /// It deploys, but does not take this input.
    Unstarted(tonic::Status),
    Started(String),
    Ended(Box<Instance>),
}

impl Scene {
    pub(crate) fn enter(&mut self, stage: Stage) {
        self.stage = Some(stage);
    }

    fn stage(&self) -> Result<&Stage> {
        self.stage.as_ref().context("a scenario is entered before it runs")
    }

    pub(crate) fn define(&mut self, source: &str) -> Result<()> {
        let version = self.stage()?.version();
        self.source = source.replacen(VERSION, &format!("version: '{version}'"), 1);
        Ok(())
    }

    /// A workflow that the one of the scenario needs; its name must be its own.
    pub(crate) async fn deploy_other(&self, source: &str) -> Result<()> {
        self.stage()?.api.deploy(source).await?;
        Ok(())
    }

    /// `name:version`, which must be its own.
    pub(crate) async fn deploy_function(&self, name: &str, source: &str) -> Result<()> {
        let (name, version) = name.split_once(':').context("a function has a version")?;
        let request = DeployFunctionRequest {
            name: name.to_owned(),
            version: version.to_owned(),
            source: source.to_owned(),
        };
        self.stage()?.api.definitions.clone().deploy_function(request).await?;
        Ok(())
    }

    pub(crate) fn give(&mut self, input: &str) -> Result<()> {
        self.input = yaml::parse(input)?.to_string();
        Ok(())
    }

    pub(crate) async fn deploy(&mut self) -> Result<()> {
        let request = DeployRequest { source: self.source.clone() };
        self.outcome = match self.stage()?.api.definitions.clone().deploy(request).await {
            Ok(answer) => {
                let definition = answer.into_inner().definition;
                Outcome::Deployed(definition.context("what is deployed has a definition")?)
            }
            Err(refusal) => Outcome::Undeployed(refusal),
        };
        Ok(())
    }

    /// Does nothing when the document was refused.
    pub(crate) async fn start(&mut self) -> Result<()> {
        self.deploy().await?;
        let Outcome::Deployed(definition) = &self.outcome else { return Ok(()) };
        let request = StartRequest {
            namespace: definition.namespace.clone(),
            name: definition.name.clone(),
            version: definition.version.clone(),
            input: self.input.clone(),
            ..StartRequest::default()
        };
        self.outcome = match self.stage()?.api.workflows.clone().start(request).await {
            Ok(started) => Outcome::Started(started.into_inner().id),
            Err(refusal) => Outcome::Unstarted(refusal),
        };
        Ok(())
    }

    /// Waits until so many instances have started by themselves, and goes on with the first.
    pub(crate) async fn starts_itself(&mut self, count: usize, deadline: Duration) -> Result<()> {
        let Outcome::Deployed(definition) = &self.outcome else {
            bail!("the workflow was not deployed: {:?}", self.outcome)
        };
        let request = ListRequest {
            namespace: definition.namespace.clone(),
            name: definition.name.clone(),
            ..ListRequest::default()
        };
        let api = &self.stage()?.api;
        let what = format!("{count} instances start");
        let found = eventually(deadline, &what, async || {
            let mut found = api.list(request.clone()).await?;
            found.retain(|instance| instance.version == definition.version);
            Ok((found.len() >= count).then_some(found))
        });
        let first = found.await?.pop().context("at least one was wanted")?;
        self.outcome = Outcome::Started(first.id);
        Ok(())
    }

    fn id(&self) -> Result<&str> {
        match &self.outcome {
            Outcome::Nothing | Outcome::Deployed(_) => bail!("the workflow was not executed"),
            Outcome::Undeployed(refusal) => bail!("the document is refused: {}", refusal.message()),
            Outcome::Unstarted(refusal) => bail!("the start is refused: {}", refusal.message()),
            Outcome::Started(id) => Ok(id),
            Outcome::Ended(instance) => Ok(&instance.id),
        }
    }

    /// Waits for the end; when it was refused there is none.
    pub(crate) async fn finish(&mut self) -> Result<()> {
        if let Outcome::Started(id) = &self.outcome {
            let ended = self.stage()?.api.ended(id, PATIENCE).await?;
            self.outcome = Outcome::Ended(Box::new(ended));
        }
        Ok(())
    }

    async fn ended(&mut self) -> Result<&Instance> {
        self.finish().await?;
        self.id()?;
        if let Outcome::Ended(instance) = &self.outcome { Ok(instance) } else { bail!("no end") }
    }

    pub(crate) async fn suspend(&self) -> Result<()> {
        let request = SuspendRequest { id: self.id()?.to_owned(), reason: "a scenario".to_owned() };
        self.stage()?.api.workflows.clone().suspend(request).await.context("suspend")?;
        Ok(())
    }

    pub(crate) async fn resume(&self) -> Result<()> {
        let request = ResumeRequest { id: self.id()?.to_owned() };
        self.stage()?.api.workflows.clone().resume(request).await.context("resume")?;
        Ok(())
    }

    pub(crate) async fn cancel(&self) -> Result<()> {
        let request = CancelRequest { id: self.id()?.to_owned(), reason: "a scenario".to_owned() };
        self.stage()?.api.workflows.clone().cancel(request).await.context("cancel")?;
        Ok(())
    }

    /// Publishes an event. Its id counts for this scenario only: the engine knows events of the same source and id.
    pub(crate) async fn publish(&self, mut event: Value) -> Result<()> {
        let stage = self.stage()?;
        let members = event.as_object_mut().context("an event is an object")?;
        let id = members.get("id").and_then(Value::as_str).unwrap_or_default();
        let id = format!("{}/{id}", stage.version());
        members.insert("id".to_owned(), id.into());
        let request = PublishEventRequest { event: event.to_string(), department: String::new() };
        stage.api.events.clone().publish(request).await.context("publish")?;
        Ok(())
    }

    /// Waits until the lab's worker holds something of this name.
    pub(crate) async fn held(&self, name: &str) -> Result<()> {
        self.id()?;
        self.stage()?.lab().begun(name, 1, PATIENCE).await
    }

    pub(crate) fn release(&self, name: &str) -> Result<()> {
        self.stage()?.lab().release(name);
        Ok(())
    }

    pub(crate) async fn comes_to(&self, status: Status) -> Result<()> {
        let (api, id) = (&self.stage()?.api, self.id()?);
        eventually(PATIENCE, &format!("the instance is {status:?}"), async || {
            Ok((api.get(id).await?.status() == status).then_some(()))
        })
        .await
    }

    /// Waits until the lifecycle event of this type is published of the instance.
    pub(crate) async fn told(&self, kind: &str) -> Result<()> {
        eventually(PATIENCE, &format!("{kind} is published"), async || {
            let kinds = self.stage()?.life(self.id()?).await?;
            Ok(kinds.iter().any(|found| found == kind).then_some(()))
        })
        .await
    }

    /// Waits until the output of a task's worker is in the log.
    pub(crate) async fn answered(&self, task: &str) -> Result<()> {
        eventually(PATIENCE, &format!("{task} is answered"), async || {
            let passages = self.history().await?.passages;
            let answered = |passage: &Passage| passage.task == task && passage.answered;
            Ok(passages.iter().any(answered).then_some(()))
        })
        .await
    }

    pub(crate) async fn ends_as(&mut self, status: Status) -> Result<&Instance> {
        let instance = self.ended().await?;
        ensure!(
            instance.status() == status,
            "it ended as {:?} with output {} and error {:?}",
            instance.status(),
            instance.output,
            instance.error
        );
        Ok(instance)
    }

    pub(crate) async fn output(&mut self) -> Result<Value> {
        let instance = self.ends_as(Status::Completed).await?;
        Ok(serde_json::from_str(&instance.output)?)
    }

    pub(crate) async fn error(&mut self) -> Result<Error> {
        let instance = self.ends_as(Status::Faulted).await?;
        instance.error.clone().context("what faulted has an error")
    }

    /// From its start to its end.
    pub(crate) async fn took_ms(&mut self) -> Result<i64> {
        let instance = self.ended().await?;
        let ms = |at: Option<&prost_types::Timestamp>| {
            at.map(|at| at.seconds * 1_000 + i64::from(at.nanos) / 1_000_000)
        };
        let times = ms(instance.started_at.as_ref()).zip(ms(instance.ended_at.as_ref()));
        times.map(|(from, to)| to - from).context("what has ended has both times")
    }

    pub(crate) async fn history(&self) -> Result<History> {
        history::read(&self.stage()?.api.history(self.id()?).await?)
    }

    /// How the last passage through a task ended.
    pub(crate) async fn end_of(&self, task: &str) -> Result<End> {
        let passages = self.history().await?.passages;
        let found = passages.into_iter().rfind(|passage| passage.task == task);
        Ok(found.with_context(|| format!("{task} did not run"))?.end)
    }

    /// The code with which the start was refused.
    pub(crate) fn start_refusal(&self) -> Result<&str> {
        if let Outcome::Unstarted(refusal) = &self.outcome {
            return Ok(world::code(refusal));
        }
        bail!("the start was not refused: {}", self.id()?)
    }

    /// What the engine finds in a document that it refuses.
    pub(crate) async fn findings(&self) -> Result<Vec<Diagnostic>> {
        if let Outcome::Undeployed(_) = &self.outcome {
            return self.validate().await;
        }
        bail!("the document was not refused: {}", self.id()?)
    }

    pub(crate) async fn validate(&self) -> Result<Vec<Diagnostic>> {
        let request = ValidateRequest { source: self.source.clone() };
        let answer = self.stage()?.api.definitions.clone().validate(request).await;
        Ok(answer.context("validate")?.into_inner().diagnostics)
    }
}

/// What stands at a path of keys and places, separated by dots.
pub(crate) fn at<'v>(value: &'v Value, path: &str) -> Result<&'v Value> {
    path.split('.').try_fold(value, |value, key| {
        let found = match value {
            Value::Array(items) => key.parse::<usize>().ok().and_then(|place| items.get(place)),
            Value::Object(members) => members.get(key),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        found.with_context(|| format!("no `{key}` of `{path}` in {value}"))
    })
}

/// Both must be the same JSON value.
pub(crate) fn expect_same(expected: &Value, found: &Value) -> Result<()> {
    ensure!(yaml::same(expected, found), "{expected} was wanted, and {found} found");
    Ok(())
}

/// Every member that is wanted must be there, and the same.
pub(crate) fn expect_error(expected: &Value, found: &Error) -> Result<()> {
    let found = serde_json::json!({
        "type": found.r#type,
        "status": found.status,
        "title": found.title,
        "detail": found.detail,
        "instance": found.instance,
    });
    let expected = expected.as_object().context("an error is an object")?;
    for (key, value) in expected {
        ensure!(
            found.get(key).is_some_and(|found| yaml::same(value, found)),
            "the error's {key} was to be {value} in {found}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_through_objects_and_lists() {
        let value = json!({"a": [{"b": 1}]});
        assert_eq!(at(&value, "a.0.b").unwrap(), &json!(1));
        assert!(at(&value, "a.1.b").is_err());
        assert!(at(&value, "a.0.b.c").is_err());
    }

    #[test]
    fn an_error_may_say_more_than_was_wanted() {
        let error = Error {
            r#type: "x".into(),
            status: 400,
            title: Some("t".into()),
            detail: None,
            instance: None,
        };
        expect_error(&json!({"type": "x", "status": 400}), &error).unwrap();
        assert!(expect_error(&json!({"title": "u"}), &error).is_err());
        assert!(expect_error(&json!({"none": "u"}), &error).is_err());
    }
}
