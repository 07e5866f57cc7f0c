//! The way of an error: up through the tasks until a `try` takes it, or the instance faults.

use alloc::{format, sync::Arc, vec};

use super::Decision;
use crate::{
    error::Error,
    evaluate::{Evaluator, Scope},
    event::Event,
    id::{ActivationId, Attempt, Duration, Timestamp},
    instance::{Ready, Try},
    json::Json,
    workflow::{Backoff, Catch, Expression, Kind, Retry},
};

impl Decision<'_> {
    /// Something inside the activation, or the activation itself, went wrong.
    pub(super) fn raise(&mut self, id: ActivationId, error: Error) {
        let task = self.task(id);
        let error = error.at(&task.pointer);
        let from_inside = matches!(self.activation(id).ready, Some(Ready::Raise(_)));
        if let Kind::Try { catch, .. } = &task.kind
            && from_inside
        {
            match self.catch(id, catch, &error) {
                // The error came up through all that was inside, so that nothing is left to cancel.
                Ok(Some(event)) => self.record(event),
                Ok(None) => self.fault(id, error),
                Err(broken) => self.fault(id, broken),
            }
        } else {
            self.fault(id, error);
        }
    }

    /// The activation ends with an error.
    pub(super) fn fault(&mut self, id: ActivationId, error: Error) {
        self.cancel_steps(id);
        if id == ActivationId::ROOT {
            self.fault_instance(error);
            return;
        }
        let event = match self.collected(id, &error) {
            Ok(Some(output)) => Event::MapItemFaulted { activation: id, error, output },
            Ok(None) => Event::TaskFaulted { activation: id, error },
            Err(error) => Event::TaskFaulted { activation: id, error },
        };
        self.record(event);
    }

    /// What stands in the place of an item whose body fails; `None`: nothing collects it.
    fn collected(&self, id: ActivationId, error: &Error) -> Result<Option<Json>, Error> {
        let parent = self.activation(id).parent;
        if !self.activation(parent).phase.mapping().is_some_and(|mapping| mapping.collect) {
            return Ok(None);
        }
        let error = self.evaluator.error_value(error);
        let output = Json::from_text(format!("{{\"error\":{}}}", error.as_str()));
        let pointer = &self.task(parent).pointer;
        self.expect_room(parent, &output).map_err(|error| error.at(pointer))?;
        Ok(Some(output))
    }

    /// What a `try` does about an error; `None`: it is not for it.
    fn catch(
        &self,
        id: ActivationId,
        catch: &Catch,
        error: &Error,
    ) -> Result<Option<Event>, Error> {
        let phase = &self.activation(id).phase;
        // An error of the handler itself goes on.
        if phase.caught().is_some() || !catch.filter.matches(error) {
            return Ok(None);
        }
        let failed = phase.failed_try().cloned().unwrap_or_default();
        if !self.applies(id, catch, error, catch.when, catch.except_when)? {
            return Ok(None);
        }
        if let Some(retry) = &catch.retry
            && self.applies(id, catch, error, retry.when, retry.except_when)?
            && let Some(fire_at) = self.retry_at(id, catch, retry, &failed, error)?
        {
            return Ok(Some(Event::RetryScheduled {
                activation: id,
                attempt: Attempt(failed.failures).next(),
                error: error.clone(),
                fire_at,
            }));
        }
        Ok(Some(Event::ErrorCaught { activation: id, error: error.clone() }))
    }

    fn applies(
        &self,
        id: ActivationId,
        catch: &Catch,
        error: &Error,
        when: Option<Expression>,
        except_when: Option<Expression>,
    ) -> Result<bool, Error> {
        let holds = |condition| {
            self.with_error(id, catch, error, |evaluator, scope| evaluator.holds(condition, scope))
        };
        Ok(when.map_or(Ok(true), holds)? && !except_when.map_or(Ok(false), holds)?)
    }

    /// When the next try begins; `None`: there is none left.
    fn retry_at(
        &self,
        id: ActivationId,
        catch: &Catch,
        retry: &Retry,
        failed: &Try,
        error: &Error,
    ) -> Result<Option<Timestamp>, Error> {
        let number = failed.failures.saturating_add(1);
        if retry.attempts_max.is_some_and(|max| number >= max) {
            return Ok(None);
        }
        let duration = |expression| {
            self.with_error(id, catch, error, |evaluator, scope| {
                evaluator.duration(expression, scope)
            })
        };
        let delay = retry.delay.map_or(Ok(Duration(0)), duration)?.0;
        let grown = match retry.backoff {
            Backoff::Constant => delay,
            Backoff::Linear => delay.saturating_mul(u64::from(number)),
            Backoff::Exponential => {
                delay.saturating_mul(1u64.checked_shl(number - 1).unwrap_or(u64::MAX))
            }
        };
        let jitter = match retry.jitter {
            Some((from, to)) => {
                let (from, to) = (duration(from)?.0, duration(to)?.0);
                from.saturating_add(
                    self.scatter(id, number) % to.saturating_sub(from).saturating_add(1).max(1),
                )
            }
            None => 0,
        };
        let fire_at = self.now.plus(Duration(grown.saturating_add(jitter)));
        if let Some(max) = retry.duration_max {
            let until = failed.first_failed_at.unwrap_or(self.now).plus(duration(max)?);
            if fire_at > until {
                return Ok(None);
            }
        }
        Ok(Some(fire_at))
    }

    fn with_error<T>(
        &self,
        id: ActivationId,
        catch: &Catch,
        error: &Error,
        ask: impl FnOnce(&dyn Evaluator, &Scope<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let error = self.evaluator.error_value(error);
        let mut variables = vec![(Arc::clone(&catch.variable), error)];
        variables.extend(self.variables(id));
        let value = &self.activation(id).input;
        self.scoped(id, value, None, |evaluator, scope| {
            ask(evaluator, &Scope { variables: &variables, ..*scope })
        })
    }

    /// A number that looks random and is the same every time: jitter only has to differ between instances.
    fn scatter(&self, id: ActivationId, number: u32) -> u64 {
        let bytes = self.instance.id.0;
        let low = u64::from_le_bytes(bytes[8..].try_into().expect("an id has 16 bytes"));
        mix(low ^ (u64::from(id.0) << 32) ^ u64::from(number))
    }
}

/// The mixer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub(super) fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
