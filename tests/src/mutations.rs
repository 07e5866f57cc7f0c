//! The places that enforce governance, each with what it would be without, and the test that must notice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// A place that enforces something.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// What it enforces.
    pub name: String,
    /// From the root of the repository.
    pub file: String,
    /// Stands once in the file.
    pub text: String,
    /// What stands there instead and enforces nothing; it compiles.
    pub instead: String,
    pub test: Test,
}

/// A test that must fail without it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    pub package: String,
    /// Which of the package's tests; no two packages have one of the same name.
    pub target: String,
    /// With the modules that it stands in.
    pub name: String,
}

/// Where the sources of a package stand.
const FOLDERS: [(&str, &str); 4] = [
    ("baton-core", "engine/core"),
    ("baton-policy", "engine/policy"),
    ("baton-server", "engine/server"),
    ("baton-tests", "tests"),
];

/// In the order in which they cost least: those of one crate stand together.
///
/// # Errors
/// When the list is none.
pub fn points() -> Result<Vec<Point>> {
    serde_saphyr::from_str(include_str!("../mutations/points.yaml")).context("the list of points")
}

impl Point {
    /// The text of its file with and without it.
    ///
    /// # Errors
    /// When the file cannot be read, or what enforces it does not stand there once.
    pub fn texts(&self, root: &Path) -> Result<(String, String)> {
        let path = root.join(&self.file);
        let text = std::fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        match text.matches(&self.text).count() {
            1 => Ok((text.clone(), text.replace(&self.text, &self.instead))),
            found => bail!("{}: its text stands {found} times in {}", self.name, self.file),
        }
    }
}

impl Test {
    /// Whether it runs the programs and not only their code.
    pub fn is_of_the_whole(&self) -> bool {
        self.package == "baton-tests"
    }

    /// The file that it stands in, and its name there.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn place(&self, root: &Path) -> Result<(PathBuf, &str)> {
        let folder = FOLDERS.iter().find(|(package, _)| *package == self.package);
        let (_, folder) = folder.with_context(|| format!("there is no {}", self.package))?;
        let mut path = root.join(folder).join("tests").join(&self.target);
        let mut modules: Vec<_> = self.name.split("::").collect();
        let name = modules.pop().context("a test has a name")?;
        path.extend(modules);
        let places = [path.with_extension("rs"), path.join("main.rs")];
        let place = places.into_iter().find(|place| place.is_file());
        Ok((place.with_context(|| format!("nothing holds {self}"))?, name))
    }
}

/// `PACKAGE TARGET NAME`
impl<'de> Deserialize<'de> for Test {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let parts: Vec<_> = text.split_whitespace().map(ToOwned::to_owned).collect();
        let [package, target, name] = <[String; 3]>::try_from(parts)
            .map_err(|_| D::Error::custom("a test is a package, a target and a name"))?;
        Ok(Self { package, target, name })
    }
}

impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// Names that stand twice.
pub fn repeated(points: &[Point]) -> Vec<&str> {
    let mut known = BTreeSet::new();
    points.iter().map(|point| &*point.name).filter(|name| !known.insert(*name)).collect()
}
