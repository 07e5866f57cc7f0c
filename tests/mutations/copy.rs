//! A copy of the repository that may be broken. What has not changed keeps its time, so that it stays built.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Makes `to` what `root` is: all files that Git knows or does not ignore.
pub(crate) fn bring_up_to_date(root: &Path, to: &Path) -> Result<()> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    ensure!(listed.status.success(), "git does not list the files of {}", root.display());
    let listed = String::from_utf8(listed.stdout).context("a file's name is not UTF-8")?;
    let names = listed.split('\0').filter(|name| !name.is_empty());
    let wanted: BTreeSet<_> =
        names.map(PathBuf::from).filter(|name| root.join(name).is_file()).collect();
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for stale in files(to)?.into_iter().filter(|file| !wanted.contains(file)) {
        fs::remove_file(to.join(&stale)).with_context(|| format!("{}", stale.display()))?;
    }
    for name in &wanted {
        copy(&root.join(name), &to.join(name)).with_context(|| format!("{}", name.display()))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if fs::read(to).ok() == Some(fs::read(from)?) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).map(|_| ())
}

/// All files below a folder, from there.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root)?.to_owned());
            }
        }
    }
    Ok(found)
}
