//! What handlers did, in files that outlive their processes: one JSON line an effect.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A handler's run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    pub instance: String,
    pub step: u32,
    pub attempt: u32,
    /// When the handler began, Unix milliseconds.
    pub at_ms: i64,
    pub worker: String,
}

/// One worker's file, open for writing.
#[derive(Debug)]
pub struct Effects {
    file: Mutex<File>,
}

impl Effects {
    /// Opens the file, or begins it. A line that a killed writer did not finish is ended first.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(path: &Path) -> Result<Self> {
        let half = std::fs::read(path).is_ok_and(|bytes| bytes.last().is_some_and(|b| *b != b'\n'));
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.with_context(|| format!("the effects' file {}", path.display()))?;
        if half {
            file.write_all(b"\n")?;
        }
        Ok(Self { file: Mutex::new(file) })
    }

    /// Answers when the effect is on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record(&self, effect: &Effect) -> Result<()> {
        let mut line = serde_json::to_vec(effect)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)?;
        file.sync_data()?;
        Ok(())
    }
}

/// Every effect that was finished writing, over all the files of a folder that end in `.effects`.
///
/// # Errors
/// When a file cannot be read.
pub fn read(folder: &Path) -> Result<Vec<Effect>> {
    let mut effects = Vec::new();
    for path in files(folder)? {
        let text = std::fs::read_to_string(&path)?;
        // A half line was never answered.
        effects.extend(text.lines().filter_map(|line| serde_json::from_str::<Effect>(line).ok()));
    }
    Ok(effects)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "effects") {
            files.push(path);
        }
    }
    Ok(files)
}
