//! Finds what an earlier `baton dev` left running when it was killed.

use std::{fs, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::child::Child;

const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes down who was started, for the next `baton dev` in this folder.
pub(super) fn remember(dir: &Path, children: &[Child]) {
    let pids: Vec<String> =
        children.iter().filter_map(Child::pid).map(|pid| pid.to_string()).collect();
    // Only a convenience: without the file nobody is found.
    let _ = fs::write(dir.join("pids"), pids.join("\n"));
}

pub(super) fn forget(dir: &Path) {
    let _ = fs::remove_file(dir.join("pids"));
}

/// The caller holds the folder's lock, so nobody owns these processes any more.
pub(super) async fn stop(dir: &Path) {
    let Ok(text) = fs::read_to_string(dir.join("pids")) else { return };
    // The engine was started last and is stopped first.
    for pid in
        text.lines().rev().filter_map(|line| line.parse::<i32>().ok()).filter_map(Pid::from_raw)
    {
        if is_ours(pid, dir) {
            let _ = kill_process(pid, Signal::TERM);
            let deadline = Instant::now() + STOP_TIMEOUT;
            while is_ours(pid, dir) && Instant::now() < deadline {
                sleep(Duration::from_millis(20)).await;
            }
            if is_ours(pid, dir) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// A process id may have been given to somebody else: ours names the folder in its arguments. Where there is no
/// `/proc`, nothing is ours.
fn is_ours(pid: Pid, dir: &Path) -> bool {
    let Ok(arguments) = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())) else {
        return false;
    };
    let inside = [dir.join("nats"), dir.join("cache")];
    arguments
        .split(|byte| *byte == 0)
        .any(|argument| inside.iter().any(|path| argument == path.as_os_str().as_encoded_bytes()))
}
