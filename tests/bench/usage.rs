//! What processes and folders take, as the kernel tells it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use baton_tests::process::Process;

use crate::meter::{Meter, Phase, float};

/// Linux counts processor time in hundredths of a second for programs, whatever it does inside.
const TICKS_A_SECOND: f64 = 100.0;

/// The id of a process that runs.
pub(crate) fn id(process: &Process) -> Result<u32> {
    process.id().with_context(|| format!("{} does not run", process.recipe.name))
}

/// Seconds of processor time, of the program and of the kernel for it.
fn cpu_s(process: u32) -> Result<f64> {
    let text = read(process, "stat")?;
    // The second field, the name, is the only one that may hold blanks.
    let (_, fields) = text.rsplit_once(')').context("a stat has a name")?;
    let mut ticks = 0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>().context("a time in stat")?;
    }
    Ok(float(ticks) / TICKS_A_SECOND)
}

/// Seconds of processor time that each of the processes takes while the meter measures.
pub(crate) async fn cpu_spent_s(meter: &Meter, processes: &[u32]) -> Result<Vec<f64>> {
    let all = || processes.iter().map(|process| cpu_s(*process)).collect::<Result<Vec<_>>>();
    meter.reached(Phase::Measuring).await?;
    let before = all()?;
    meter.reached(Phase::Over).await?;
    Ok(all()?.into_iter().zip(before).map(|(after, before)| after - before).collect())
}

/// Resident memory now.
pub(crate) fn rss_mib(process: u32) -> Result<f64> {
    status_mib(process, "VmRSS:")
}

/// The most resident memory so far.
pub(crate) fn rss_peak_mib(process: u32) -> Result<f64> {
    status_mib(process, "VmHWM:")
}

/// Bytes of all files in a folder and those below it. Files that go meanwhile count as gone.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

fn status_mib(process: u32, key: &str) -> Result<f64> {
    let text = read(process, "status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    let kib = kib.with_context(|| format!("no {key} in status"))?.parse::<u64>()?;
    Ok(float(kib) / 1024.0)
}

fn read(process: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{process}/{file}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}
