//! The book of an outside system, such as a bank: it takes each key once, refuses it afterwards, and counts both.
//!
//! A file of one JSON line for each entry, on the disk before anybody is answered.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

/// What can go wrong with a book.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the book {path}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("line {line} of the book {path}")]
    Line { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("a writer of the book died while it wrote")]
    Broken,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub key: String,
    pub amount_pennies: i64,
    /// Which attempt of the step wrote it, and under which key of the engine's.
    pub attempt: u32,
    pub idempotency_key: String,
    /// The key was there before: nothing was done.
    pub refused: bool,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Done now.
    First(Entry),
    /// Done before; the entry as it was then.
    Before(Entry),
}

impl Taken {
    /// The entry that stands in the book.
    pub fn entry(self) -> Entry {
        match self {
            Self::First(entry) | Self::Before(entry) => entry,
        }
    }
}

/// A book that is open for writing, by one process at a time.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    taken: HashMap<String, Entry>,
}

impl Ledger {
    /// Opens a book, or begins it.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let at = |source| Error::File { path: path.to_path_buf(), source };
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(at)?;
        let entries = read(path)?;
        // A line that its writer did not finish was never answered, and must not spoil the next one.
        let whole = entries.iter().map(|(_, bytes)| *bytes as u64).sum();
        file.set_len(whole).map_err(at)?;
        let taken = entries.into_iter().map(|(entry, _)| entry).filter(|entry| !entry.refused);
        let taken = taken.map(|entry| (entry.key.clone(), entry)).collect();
        Ok(Self { path: path.to_path_buf(), state: Mutex::new(State { file, taken }) })
    }

    /// Does what is asked if the key is new, and remembers the refusal if it is not.
    ///
    /// # Errors
    /// When the line could not be written; whether it is there is then unknown.
    pub fn take(&self, entry: Entry) -> Result<Taken, Error> {
        let mut state = self.state.lock().map_err(|_| Error::Broken)?;
        let before = state.taken.get(&entry.key).cloned();
        let entry = Entry { refused: before.is_some(), ..entry };
        let source = |source| Error::File { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(&entry).map_err(|error| source(error.into()))?;
        line.push(b'\n');
        state.file.write_all(&line).map_err(source)?;
        state.file.sync_data().map_err(source)?;
        if let Some(before) = before {
            return Ok(Taken::Before(before));
        }
        state.taken.insert(entry.key.clone(), entry.clone());
        Ok(Taken::First(entry))
    }
}

/// All entries of a book, the refused among them; none when there is no book.
///
/// # Errors
/// When a line is not one of ours.
pub fn entries(path: &Path) -> Result<Vec<Entry>, Error> {
    Ok(read(path)?.into_iter().map(|(entry, _)| entry).collect())
}

/// Each finished line and its length in bytes.
fn read(path: &Path) -> Result<Vec<(Entry, usize)>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::File { path: path.to_path_buf(), source }),
    };
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).enumerate();
    let parse = |(number, line): (usize, &str)| {
        let entry = serde_json::from_str(line);
        let entry = entry.map_err(|source| Error::Line {
            path: path.to_path_buf(),
            line: number + 1,
            source,
        })?;
        Ok((entry, line.len()))
    };
    lines.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str) -> Entry {
        Entry {
            key: key.to_owned(),
            amount_pennies: 1,
            attempt: 1,
            idempotency_key: String::new(),
            refused: false,
        }
    }

    #[test]
    fn a_key_is_taken_once_even_after_a_writer_was_killed_in_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bank.jsonl");
        assert_eq!(
            Ledger::open(&path).unwrap().take(entry("a")).unwrap(),
            Taken::First(entry("a"))
        );
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"key\":\"b").unwrap();

        let book = Ledger::open(&path).unwrap();
        assert_eq!(book.take(entry("b")).unwrap(), Taken::First(entry("b")));
        assert_eq!(book.take(entry("a")).unwrap(), Taken::Before(entry("a")));

        let refused =
            entries(&path).unwrap().into_iter().map(|entry| entry.refused).collect::<Vec<_>>();
        assert_eq!(refused, [false, false, true]);
    }
}
