//! A set as it lies in a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{limits, set::Texts};

/// Why a folder is no set.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct Error {
    pub path: PathBuf,
    pub source: io::Error,
}

/// The texts of a folder, under their names within it. Hidden files are left out.
///
/// # Errors
/// [`Error`] when something in it cannot be read, or there is too much of it.
pub fn read(folder: &Path) -> Result<Texts, Error> {
    let mut texts = Texts::new();
    gather(folder, "", 0, &mut texts)?;
    Ok(texts)
}

fn gather(folder: &Path, within: &str, depth: usize, texts: &mut Texts) -> Result<(), Error> {
    let failed = |path: PathBuf, source| Error { path, source };
    let found = fs::read_dir(folder).map_err(|error| failed(folder.to_owned(), error))?;
    for file in found {
        let file = file.map_err(|error| failed(folder.to_owned(), error))?;
        let name = file.file_name();
        let Some(name) = name.to_str() else {
            return Err(failed(file.path(), io::Error::other("a name of a set is UTF-8")));
        };
        if name.starts_with('.') {
            continue;
        }
        let (path, name) = (file.path(), format!("{within}{name}"));
        let meta = fs::metadata(&path).map_err(|error| failed(path.clone(), error))?;
        if meta.is_dir() {
            if depth >= limits::FOLDERS_DEPTH_MAX || path.is_symlink() {
                let what = format!(
                    "folders of a set are at most {} deep, and links to folders are not followed",
                    limits::FOLDERS_DEPTH_MAX
                );
                return Err(failed(path, io::Error::other(what)));
            }
            gather(&path, &format!("{name}/"), depth + 1, texts)?;
        } else if meta.is_file() && is_text(&name) {
            if meta.len() > limits::FILE_BYTES_MAX || texts.len() >= limits::FILES_MAX {
                let what = format!(
                    "a set has at most {} files of at most {} bytes each",
                    limits::FILES_MAX,
                    limits::FILE_BYTES_MAX
                );
                return Err(failed(path, io::Error::other(what)));
            }
            let text = fs::read_to_string(&path).map_err(|error| failed(path, error))?;
            texts.insert(name, text);
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    let kind = Path::new(name).extension().and_then(|kind| kind.to_str());
    matches!(kind, Some("cedar" | "json" | "yaml"))
}
