//! Waiting for what must come, with a deadline instead of a guess.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Enough for anything that is not broken, on a machine that is busy with other things.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until the answer is there: `Ok(Some(value))` ends the wait, `Ok(None)` and errors are tried again.
///
/// # Errors
/// When the deadline has passed: what was waited for, and the last error.
pub async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        let Ok(answer) = tokio::time::timeout(deadline, ask()).await else {
            bail!("no answer within {deadline:?}: {what}");
        };
        let complaint = match answer {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if began.elapsed() > deadline {
            match complaint {
                Some(error) => {
                    return Err(error.context(format!("not within {deadline:?}: {what}")));
                }
                None => bail!("not within {deadline:?}: {what}"),
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
