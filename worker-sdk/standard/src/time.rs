//! How long a step may still take; the only place that asks what time it is.

use std::time::{Duration, SystemTime};

use baton_worker::{Context, Outcome};

use crate::fault::Fault;

/// Until the step's deadline, and no longer than `most`.
pub(crate) fn left(context: &Context, most: Duration) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    let now = SystemTime::now();
    let left = context.deadline().map(|at| at.duration_since(now).unwrap_or_default());
    left.map_or(most, |left| left.min(most))
}

/// Does the work, unless it takes too long or nobody wants it any more: then it is dropped where it is.
pub(crate) async fn within<T>(
    context: &Context,
    most: Duration,
    work: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    let left = left(context, most);
    tokio::select! { biased;
        () = context.cancelled() => Err(Fault::Cancelled.because("the step is no longer wanted")),
        done = tokio::time::timeout(left, work) => done.unwrap_or_else(|_| {
            Err(Fault::TimedOut.because(format_args!("not done within {} ms", left.as_millis())))
        }),
    }
}
