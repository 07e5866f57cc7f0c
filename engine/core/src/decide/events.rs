//! What comes from and goes to the world beside steps: events that are emitted and taken, and other instances.

use alloc::{collections::BTreeMap, format, sync::Arc, vec::Vec};

use super::{Decision, enter::limit};
use crate::{
    command::Rejection,
    error::{Error, Standard},
    evaluate::EventDefaults,
    event::{Event, Origin},
    guard::Carried,
    id::{ActivationId, InstanceId, Timestamp},
    instance::Listening,
    json::Json,
    limits,
    workflow::{EventFilter, Expression, Kind, Listen, Until},
};

impl Decision<'_> {
    pub(super) fn emit(&mut self, id: ActivationId, event: Expression) -> Result<(), Error> {
        let name = &self.workflow.name;
        let defaults = EventDefaults {
            id: format!("{}/{}", self.instance.id, id.0),
            source: format!("/{}/{}", name.namespace, name.name),
            time: self.now,
        };
        let input = &self.activation(id).input;
        let event = self.scoped(id, input, None, |e, scope| e.event(event, &defaults, scope))?;
        if event.len() > limits::EVENT_BYTES_MAX {
            return Err(limit("the event is too large"));
        }
        self.record(Event::EventEmitted { activation: id, event });
        Ok(())
    }

    pub(super) fn run(
        &mut self,
        id: ActivationId,
        workflow: Expression,
        awaited: bool,
    ) -> Result<(), Error> {
        let around = self.instance.started.parent.map_or(0, |parent| parent.depth);
        if around >= limits::CHILDREN_DEPTH_MAX {
            return Err(limit("too many workflows run inside each other"));
        }
        let input = &self.activation(id).input;
        let (workflow, input) =
            self.scoped(id, input, None, |e, scope| e.child(workflow, scope))?;
        let child = child_id(self.instance.id, id, self.now);
        self.record(Event::ChildStarted { activation: id, child, workflow, input, awaited });
        Ok(())
    }

    pub(super) fn listen(&mut self, id: ActivationId, listen: &Listen) -> Result<(), Error> {
        let mut correlation = BTreeMap::new();
        let input = &self.activation(id).input;
        for correlate in filters(listen).flat_map(|filter| &filter.correlate) {
            if let Some(expect) = correlate.expect {
                let value = self.scoped(id, input, None, |e, scope| e.value(expect, scope))?;
                correlation.insert(Arc::clone(&correlate.key), value);
            }
        }
        let each = listen.each.is_some();
        self.record(Event::ListenStarted { activation: id, correlation, each });
        Ok(())
    }

    /// Whoever does not await it goes on with its own input.
    pub(super) fn end_child(
        &mut self,
        id: ActivationId,
        result: Result<Json, Error>,
        carried: Carried,
    ) {
        let awaited = self.instance.open_child(id).is_some_and(|(_, awaited)| awaited);
        let own = &self.activation(id).input;
        let pointer = &self.task(id).pointer;
        let result = result.map_err(|error| error.at(pointer));
        let result = if awaited { result } else { result.map(|_| own.clone()) };
        self.record(Event::ChildEnded { activation: id, result, carried });
    }

    /// Gives an event to everything in the instance that listens for it, or to `listener` alone.
    pub(super) fn take_event(
        &mut self,
        event: &Json,
        origin: &Origin,
        listener: Option<ActivationId>,
    ) -> Result<(), Rejection> {
        if self.instance.taken.contains(&origin.position) {
            return Err(Rejection::EventTaken);
        }
        let listeners = self.instance.listeners().map(|(id, _)| id);
        let listeners: Vec<ActivationId> =
            listeners.filter(|id| listener.is_none_or(|listener| *id == listener)).collect();
        // Nothing is recorded before it is known that somebody takes it.
        let taken: Vec<_> = listeners
            .into_iter()
            .filter_map(|id| Some((id, self.taken_by(id, event, origin)?)))
            .collect();
        if taken.is_empty() {
            return Err(Rejection::NotAwaited);
        }
        for (id, (taken, problem)) in taken {
            // A fault of the one around it may have ended it meanwhile.
            if !self.instance.activations.contains_key(&id) {
                continue;
            }
            self.record(taken);
            if let Some(error) = problem {
                self.fault(id, error);
            }
        }
        Ok(())
    }

    /// What a listener makes of an event, and the error that comes of it; `None`: it does not want it.
    fn taken_by(
        &self,
        id: ActivationId,
        event: &Json,
        origin: &Origin,
    ) -> Option<(Event, Option<Error>)> {
        let Kind::Listen(listen) = &self.task(id).kind else { return None };
        let listening = self.activation(id).phase.listening()?;
        let taken = |filter, value, correlation, over| Event::EventTaken {
            activation: id,
            filter,
            value,
            correlation,
            event: origin.clone(),
            over,
        };
        let own = listen.filters.len();
        if let Until::Events { filters, all } = &listen.until
            && let Some((filter, correlation)) =
                self.fitting(id, listening, filters, own, *all, event)
        {
            let over = !all || has_all(listening, own, filters.len(), filter);
            return Some((taken(filter, None, correlation, over), None));
        }
        let all = matches!(listen.until, Until::All);
        let (filter, correlation) = self.fitting(id, listening, &listen.filters, 0, all, event)?;
        let value = self.evaluator.read(event, listen.read);
        if let Err(error) = expect_space(listening, &value) {
            let error = error.at(&self.task(id).pointer);
            return Some((taken(filter, None, correlation, false), Some(error)));
        }
        let over = match &listen.until {
            Until::First => Ok(true),
            Until::All => Ok(has_all(listening, 0, own, filter)),
            Until::Events { .. } => Ok(false),
            Until::Holds(condition) => {
                let so_far = Json::array(listening.events.iter().chain([&value]));
                self.scoped(id, &so_far, None, |e, scope| e.holds(*condition, scope))
            }
        };
        let (over, problem) = over.map_or_else(|error| (false, Some(error)), |over| (over, None));
        Some((taken(filter, Some(value), correlation, over), problem))
    }

    /// The first filter that the event fits, by its number, and what the event settles for those to come. When `all`
    /// are wanted, one that has had its event takes no other.
    fn fitting(
        &self,
        id: ActivationId,
        listening: &Listening,
        filters: &[EventFilter],
        first: usize,
        all: bool,
        event: &Json,
    ) -> Option<(u32, BTreeMap<Arc<str>, Json>)> {
        filters.iter().enumerate().find_map(|(place, filter)| {
            let number = u32::try_from(first + place).expect("a document has fewer filters");
            if all && listening.matched.contains(&number) {
                return None;
            }
            let fits =
                self.scoped(id, event, None, |e, scope| Ok(e.matches(filter.matcher, scope)));
            if fits != Ok(true) {
                return None;
            }
            Some((number, self.correlated(id, listening, filter, event)?))
        })
    }

    /// `None` when the event says something else than those before it, or nothing.
    fn correlated(
        &self,
        id: ActivationId,
        listening: &Listening,
        filter: &EventFilter,
        event: &Json,
    ) -> Option<BTreeMap<Arc<str>, Json>> {
        let mut settled = BTreeMap::new();
        for correlate in &filter.correlate {
            let found = self.scoped(id, event, None, |e, scope| e.value(correlate.from, scope));
            let found = found.ok().filter(|value| value.as_str() != "null")?;
            match listening.correlation.get(&correlate.key) {
                Some(wanted) if *wanted != found => return None,
                Some(_) => {}
                None => {
                    settled.insert(Arc::clone(&correlate.key), found);
                }
            }
        }
        Some(settled)
    }

    /// A listener has something to do: the next pass, the end of one, or its own end.
    pub(super) fn heard(&mut self, id: ActivationId, listen: &Listen) -> Result<(), Error> {
        let listening =
            self.activation(id).phase.listening().expect("it has listened before it is done");
        let Some(each) = &listen.each else {
            let output = Json::array(&listening.events);
            return self.complete(id, Some(output), None);
        };
        if listening.running {
            let raw = &self.activation(id).value;
            let as_output =
                |expression| self.scoped(id, raw, Some(raw), |e, scope| e.value(expression, scope));
            let output = each.output.map_or_else(|| Ok(raw.clone()), as_output)?;
            let as_context = |expression| {
                self.scoped(id, &output, Some(raw), |e, scope| {
                    let scope = crate::evaluate::Scope { output: Some(&output), ..*scope };
                    e.value(expression, &scope)
                })
            };
            let context = each.export.map(as_context).transpose()?;
            self.record(Event::ListenIterationEnded { activation: id, output, context });
        } else if listening.has_waiting() {
            self.record(Event::ListenIterated { activation: id, index: listening.next });
        } else {
            let output = Json::array(&listening.outputs);
            self.complete(id, Some(output), None)?;
        }
        Ok(())
    }
}

/// Of a listener, those of `until` last.
fn filters(listen: &Listen) -> impl Iterator<Item = &EventFilter> {
    let more = if let Until::Events { filters, .. } = &listen.until { &filters[..] } else { &[] };
    listen.filters.iter().chain(more)
}

/// Whether with this filter all of a range have had their event.
fn has_all(listening: &Listening, first: usize, count: usize, now: u32) -> bool {
    (first..first + count).all(|number| {
        u32::try_from(number).is_ok_and(|n| n == now || listening.matched.contains(&n))
    })
}

fn expect_space(listening: &Listening, value: &Json) -> Result<(), Error> {
    let waiting = listening.events.len();
    let bytes: usize = listening.events.iter().map(|event| event.len()).sum();
    if waiting >= limits::LISTEN_EVENTS_MAX || bytes + value.len() > limits::LISTEN_BYTES_MAX {
        return Err(limit("a listen has taken more events than it may hold"));
    }
    Ok(())
}

/// The error of a child that was cancelled, for whoever waits for it.
pub fn child_cancelled(child: InstanceId) -> Error {
    let detail = format!("instance {child} was cancelled");
    Error::standard(Standard::Runtime, "The workflow that was run was cancelled", &detail)
}

/// A UUIDv7 of now whose random bits come from the parent and its task, so that it is the same every time. The last
/// ten bits are the parent's own, for the shell keeps the partition there: a child begins in its parent's commit.
/// The mixer is that of `scatter` in raise.rs.
fn child_id(parent: InstanceId, activation: ActivationId, now: Timestamp) -> InstanceId {
    let half = |from: usize| {
        u64::from_be_bytes(parent.0[from..from + 8].try_into().expect("an id has 16 bytes"))
    };
    let mixed = super::raise::mix(half(0) ^ super::raise::mix(half(8) ^ u64::from(activation.0)));
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&now.0.to_be_bytes()[2..]);
    bytes[6..14].copy_from_slice(&mixed.to_be_bytes());
    bytes[14..].copy_from_slice(&parent.0[14..]);
    // RFC 9562: version 7 and the variant.
    bytes[6] = bytes[6] & 0x0f | 0x70;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes[14] = bytes[14] & 0x03 | mixed.to_be_bytes()[7] << 2;
    InstanceId(bytes)
}
