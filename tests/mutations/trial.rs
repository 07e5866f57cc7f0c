//! Builds the copy with one place taken out, and runs the test that must notice.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use baton_tests::mutations::{Point, Test};
use baton_tests::settings;
use serde_json::Value;

use crate::copy::bring_up_to_date;

/// The first build makes everything: some minutes on two cores.
const BUILD_MAX: Duration = Duration::from_secs(30 * 60);

/// What waits in a test for something gives up after a minute, and the longest wait a few times.
const TEST_MAX: Duration = Duration::from_secs(5 * 60);

const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The test failed.
    Caught,
    /// The test passed.
    Survived,
    /// It does not compile: the list is to be mended.
    Unbuilt,
    /// The test neither passed nor failed.
    Undecided,
}

impl Outcome {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Survived => "survived",
            Self::Unbuilt => "does-not-compile",
            Self::Undecided => "undecided",
        }
    }

    pub(crate) fn text(self, point: &Point) -> String {
        match self {
            Self::Caught => format!("caught by {}", point.test),
            Self::Survived => format!("SURVIVED {}", point.test),
            Self::Unbuilt => "DOES NOT COMPILE".to_owned(),
            Self::Undecided => format!("UNDECIDED: {} did not end", point.test),
        }
    }
}

/// A copy of the repository, built.
pub(crate) struct Bench {
    source: PathBuf,
    build: PathBuf,
    tests: BTreeSet<Test>,
    /// By target: the programs that hold tests.
    programs: BTreeMap<String, PathBuf>,
}

impl Bench {
    pub(crate) fn set_up(folder: &Path, tests: BTreeSet<Test>) -> Result<Self> {
        let (source, build) = (folder.join("source"), folder.join("build"));
        bring_up_to_date(&settings::root(), &source)?;
        fs::create_dir_all(&build).context("the folder of what is built")?;
        let mut bench = Self { source, build, tests: BTreeSet::new(), programs: BTreeMap::new() };
        for test in &tests {
            if !bench.programs.contains_key(&test.target) {
                let program = bench.program(&test.target)?;
                bench.programs.insert(test.target.clone(), program);
            }
        }
        ensure!(bench.build(&ENGINE)?, "the engine does not compile");
        Ok(Self { tests, ..bench })
    }

    /// With everything in its place, or a test that fails anyway would seem to notice something.
    pub(crate) fn expect_all_pass(&self) -> Result<()> {
        for test in &self.tests {
            let outcome = self.run(test)?;
            ensure!(outcome == Outcome::Survived, "{test} fails with everything in its place");
        }
        Ok(())
    }

    pub(crate) fn try_without(&self, point: &Point) -> Result<Outcome> {
        let (with, without) = point.texts(&self.source)?;
        let file = self.source.join(&point.file);
        fs::write(&file, without).context("cannot change the copy")?;
        let outcome = self.build_and_run(&point.test);
        // Its time is new, so that it is built again.
        fs::write(&file, with).context("cannot mend the copy")?;
        outcome
    }

    fn build_and_run(&self, test: &Test) -> Result<Outcome> {
        // A test of the whole stays as it is, and runs an engine that is not.
        let built = if test.is_of_the_whole() {
            self.build(&ENGINE)?
        } else {
            self.build(&["test", "--no-run", "--quiet", "--workspace", "--test", &test.target])?
        };
        if built { self.run(test) } else { Ok(Outcome::Unbuilt) }
    }

    /// Whether it compiles.
    fn build(&self, arguments: &[&str]) -> Result<bool> {
        let mut cargo = self.cargo();
        cargo.args(arguments).stdout(Stdio::null()).stderr(self.log("build")?);
        ended(&mut cargo, BUILD_MAX)?.context("cargo did not end")
    }

    /// Builds what holds tests, and says where it lies.
    fn program(&self, target: &str) -> Result<PathBuf> {
        let told = self.build.join("told.json");
        let mut cargo = self.cargo();
        cargo.args(["test", "--no-run", "--workspace", "--test", target]);
        cargo
            .args(["--message-format", "json"])
            .stdout(File::create(&told)?)
            .stderr(self.log("build")?);
        if ended(&mut cargo, BUILD_MAX)? != Some(true) {
            bail!("{target} does not compile:\n{}", self.end_of("build"));
        }
        let told = fs::read_to_string(told)?;
        let mut programs = told.lines().filter_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let of_tests = message["profile"]["test"] == true;
            of_tests.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
        });
        programs.next_back().with_context(|| format!("{target} has no program"))
    }

    fn run(&self, test: &Test) -> Result<Outcome> {
        let mut command = Command::new(&self.programs[&test.target]);
        command
            .args([&*test.name, "--exact"])
            .env("BATON_BIN_DIR", self.build.join("debug"))
            .current_dir(&self.source)
            .stdout(self.log("test")?)
            .stderr(Stdio::null());
        let passed = ended(&mut command, TEST_MAX)?;
        let printed = self.end_of("test");
        let told = |verdict: &str| printed.contains(&format!("test {} ... {verdict}", test.name));
        Ok(match passed {
            Some(true) if told("ok") => Outcome::Survived,
            Some(false) if told("FAILED") => Outcome::Caught,
            Some(_) | None => Outcome::Undecided,
        })
    }

    fn cargo(&self) -> Command {
        let mut cargo =
            Command::new(settings::variable("CARGO").unwrap_or_else(|| OsString::from("cargo")));
        cargo.current_dir(&self.source).env("CARGO_TARGET_DIR", &self.build);
        cargo
    }

    /// What something prints.
    fn log(&self, name: &str) -> Result<File> {
        File::create(self.build.join(format!("{name}.log"))).context("a log")
    }

    /// What cargo, or a test, has printed last.
    pub(crate) fn end_of(&self, log: &str) -> String {
        fs::read_to_string(self.build.join(format!("{log}.log"))).unwrap_or_default()
    }
}

/// The only program that tests of the whole run here. Of the whole workspace, so that what it uses is built once.
const ENGINE: [&str; 5] = ["build", "--quiet", "--workspace", "--bin", "batond"];

/// Whether it ended well; none: it did not end in time, and is killed. What a test has started does not outlive it.
fn ended(command: &mut Command, within: Duration) -> Result<Option<bool>> {
    let mut child = command.stdin(Stdio::null()).spawn().context("a program")?;
    let began = Instant::now();
    while began.elapsed() < within {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}
