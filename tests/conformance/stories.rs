//! Runs the scenarios of a folder and tells what became of each.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;

use cucumber::event::{self, Source, StepError};
use cucumber::{Event, World as _, Writer, cli, gherkin, parser, writer};
use indicatif::{ProgressBar, ProgressStyle};

use crate::say;
use crate::scene::Scene;
use crate::stage::Stage;

/// Scenarios at once: they mostly wait.
const CONCURRENT: usize = 16;

/// Marks a scenario that the engine does not fulfil yet: it must fail.
const PENDING: &str = "pending";

/// One scenario and how it went.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    /// Name of its file.
    pub feature: String,
    pub name: String,
    /// Without `@`; those of its feature among them.
    pub tags: BTreeSet<String>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// It has a step that nobody has written code for.
    Undefined(String),
}

impl Story {
    pub(crate) fn is_pending(&self) -> bool {
        self.tags.contains(PENDING)
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.outcome == Outcome::Passed
    }

    pub(crate) fn is_undefined(&self) -> bool {
        matches!(self.outcome, Outcome::Undefined(_))
    }

    /// The rows of the language's list that it shows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().filter_map(|tag| tag.strip_prefix("row-"))
    }

    /// The traps of the language that it shows our answer to.
    pub(crate) fn traps(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().filter_map(|tag| tag.strip_prefix("trap-"))
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.feature, self.name)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Undefined(step) => write!(f, "nobody has written code for the step `{step}`"),
        }
    }
}

/// Runs all scenarios of a folder, or those whose names hold a text.
pub(crate) async fn run(stage: &Stage, folder: &Path, only: Option<&str>) -> Vec<Story> {
    let bar = ProgressBar::new_spinner().with_style(
        ProgressStyle::with_template("{spinner} {pos} scenarios of {prefix}, last: {wide_msg}")
            .expect("the template is right"),
    );
    bar.set_prefix(folder.display().to_string());
    let tally = Tally { stories: Vec::new(), open: HashMap::new(), bar };
    let (stage, only) = (stage.clone(), only.map(ToOwned::to_owned));
    let cucumber = Scene::cucumber::<&Path>()
        .with_writer(tally)
        .with_default_cli()
        .max_concurrent_scenarios(CONCURRENT)
        .before(move |_, _, _, scene| {
            let stage = stage.clone();
            Box::pin(async move { scene.enter(stage) })
        });
    let wanted =
        move |_: &gherkin::Feature, _: Option<&gherkin::Rule>, found: &gherkin::Scenario| {
            only.as_ref().is_none_or(|only| found.name.contains(only))
        };
    let mut tally = cucumber.filter_run(folder, wanted).await;
    tally.bar.finish_and_clear();
    let passed = tally.stories.iter().filter(|story| story.has_passed()).count();
    say(&format!("{}: {passed} of {} scenarios passed", folder.display(), tally.stories.len()));
    tally
        .stories
        .sort_by(|one, other| (&one.feature, &one.name).cmp(&(&other.feature, &other.name)));
    tally.stories
}

/// Gathers what happens, in whatever order.
struct Tally {
    stories: Vec<Story>,
    /// What went wrong in scenarios that have not finished.
    open: HashMap<Source<gherkin::Scenario>, Outcome>,
    bar: ProgressBar,
}

impl writer::Normalized for Tally {}

impl Writer<Scene> for Tally {
    type Cli = cli::Empty;

    async fn handle_event(
        &mut self,
        event: parser::Result<Event<event::Cucumber<Scene>>>,
        _: &Self::Cli,
    ) {
        match event.map(Event::into_inner) {
            Ok(event::Cucumber::Feature(feature, event)) => self.feature(&feature, event),
            Ok(
                event::Cucumber::Started
                | event::Cucumber::ParsingFinished { .. }
                | event::Cucumber::Finished,
            ) => {}
            // A file that cannot be read is a story that failed.
            Err(error) => self.stories.push(Story {
                feature: "a feature".to_owned(),
                name: "it can be read".to_owned(),
                tags: BTreeSet::new(),
                outcome: Outcome::Failed(error.to_string()),
            }),
        }
    }
}

impl Tally {
    fn feature(&mut self, feature: &gherkin::Feature, event: event::Feature<Scene>) {
        match event {
            event::Feature::Scenario(scenario, event)
            | event::Feature::Rule(_, event::Rule::Scenario(scenario, event)) => {
                self.scenario(feature, scenario, event.event);
            }
            event::Feature::Started
            | event::Feature::Finished
            | event::Feature::Rule(_, event::Rule::Started | event::Rule::Finished) => {}
        }
    }

    fn scenario(
        &mut self,
        feature: &gherkin::Feature,
        scenario: Source<gherkin::Scenario>,
        event: event::Scenario<Scene>,
    ) {
        match event {
            event::Scenario::Step(step, event::Step::Failed(.., error)) => {
                let why = format!("`{}`: {}", step.value, told(&error));
                self.open.insert(scenario, Outcome::Failed(why));
            }
            event::Scenario::Step(step, event::Step::Skipped) => {
                self.open.insert(scenario, Outcome::Undefined(step.value.clone()));
            }
            event::Scenario::Hook(_, event::Hook::Failed(..)) => {
                self.open.insert(scenario, Outcome::Failed("a hook failed".to_owned()));
            }
            event::Scenario::Finished => self.finish(feature, &scenario),
            event::Scenario::Started
            | event::Scenario::Hook(..)
            | event::Scenario::Background(..)
            | event::Scenario::Step(..)
            | event::Scenario::Log(_) => {}
        }
    }

    fn finish(&mut self, feature: &gherkin::Feature, scenario: &Source<gherkin::Scenario>) {
        let file = feature.path.as_deref().and_then(Path::file_name);
        let tags = feature.tags.iter().chain(&scenario.tags).cloned();
        let story = Story {
            feature: file.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            name: scenario.name.clone(),
            tags: tags.collect(),
            outcome: self.open.remove(scenario).unwrap_or(Outcome::Passed),
        };
        self.bar.inc(1);
        self.bar.set_message(story.to_string());
        self.stories.push(story);
    }
}

/// What a step said when it failed.
fn told(error: &StepError) -> String {
    if let StepError::Panic(said) = error {
        if let Some(text) = said.downcast_ref::<String>() {
            return text.clone();
        }
        if let Some(text) = said.downcast_ref::<&str>() {
            return (*text).to_owned();
        }
    }
    error.to_string()
}
