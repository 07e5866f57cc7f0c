//! Reads what a command is given: files, the standard input.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{} cannot be read: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the standard input cannot be read: {0}")]
    Standard(io::Error),
}

/// `-` is the standard input.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map_err(Error::Standard)?;
        return Ok(text);
    }
    fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// JSON itself, `@FILE`, or `-`. Whether it is JSON is for the engine to say.
pub(crate) fn value(text: &str) -> Result<String, Error> {
    match text.strip_prefix('@') {
        Some(path) => read(Path::new(path)),
        None if text == "-" => read(Path::new("-")),
        None => Ok(text.to_owned()),
    }
}

/// As messages name it.
pub(crate) fn name(path: &Path) -> String {
    if path == Path::new("-") { "<stdin>".into() } else { path.display().to_string() }
}
