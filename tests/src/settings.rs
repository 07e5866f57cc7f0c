//! What the environment says: where the binaries are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// One of our own programs: in the folder that `BATON_BIN_DIR` names, else beside the running one.
///
/// # Errors
/// When it has not been built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = match variable("BATON_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => beside()?,
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!("there is no {}: build it with `cargo build --workspace --bins`", path.display());
    }
    Ok(path)
}

/// The broker: the file that `BATON_NATS_SERVER` names, else `nats-server` on PATH.
///
/// # Errors
/// When there is none.
pub fn nats_server() -> Result<PathBuf> {
    if let Some(path) = variable("BATON_NATS_SERVER") {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("BATON_NATS_SERVER names {}, which is no file", path.display());
        }
        return Ok(path);
    }
    let folders = variable("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join("nats-server"))
        .find(|path| path.is_file())
        .context("there is no nats-server: run `make nats` and set BATON_NATS_SERVER to the path that it prints")
}

/// A setting from the environment; an empty one counts as none.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The folder of the build's programs; test executables lie in `deps` below it.
fn beside() -> Result<PathBuf> {
    let own = std::env::current_exe().context("where this program is")?;
    let folder = own.parent().context("a program lies in a folder")?;
    match folder.file_name() {
        Some(name) if name == "deps" || name == "examples" => {
            Ok(folder.parent().context("`deps` lies in the profile's folder")?.to_path_buf())
        }
        _ => Ok(folder.to_path_buf()),
    }
}
