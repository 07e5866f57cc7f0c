//! What an evaluation may use: every value that is looked at or made is paid for, so that it ends, and within memory.
//!
//! Prices are guesses at what things take. Where they are too low the processor's time ends it: that of the thread, so
//! that a busy machine changes nothing.

use std::{cell::Cell, time::Duration};

use jaq_core::{
    Bind, DataT, Error, Lut, Native, RunPtr, ValX,
    box_iter::box_once,
    data::HasLut,
    native::{Filter, Fun, run, v},
};
use jaq_json::{Num, Val};
use rustix::time::{ClockId, clock_gettime};

use crate::{json, limits, lists};

/// The kind of data that filters run on: jaq's values, and a meter beside the program.
pub(crate) struct Metered;

impl DataT for Metered {
    type V<'a> = Val;
    type Data<'a> = Run<'a>;
}

#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub lut: &'a Lut<Metered>,
    pub meter: &'a Meter,
}

impl<'a> HasLut<'a, Metered> for Run<'a> {
    fn lut(&self) -> &'a Lut<Metered> {
        self.lut
    }
}

/// Counts down. Once it is empty nothing can be paid any more, whatever an expression catches.
pub(crate) struct Meter {
    /// What it was filled with.
    full: Cell<u64>,
    left: Cell<u64>,
    pub empty: Cell<bool>,
    /// Spent before it was filled the last time.
    before: Cell<u64>,
    /// With how much left the clock is looked at.
    look_at: Cell<u64>,
    /// When the clock was looked at last: most evaluations end before.
    looked: Cell<Option<Duration>>,
    /// From look to look.
    took: Cell<Duration>,
    time_per_unit: Duration,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let meter = Self {
            full: Cell::new(0),
            left: Cell::new(0),
            empty: Cell::new(false),
            before: Cell::new(0),
            look_at: Cell::new(0),
            looked: Cell::new(None),
            took: Cell::new(Duration::ZERO),
            time_per_unit: limits::WORK_TIME_PER_UNIT,
        };
        meter.fill(limits::WORK_MAX);
        meter
    }

    /// One that lets the processor take longer.
    pub(crate) fn patient() -> Self {
        Self { time_per_unit: limits::WORK_TIME_PER_UNIT_BESIDE, ..Self::new() }
    }

    pub(crate) fn refill(&self) {
        self.before.set(self.spent());
        self.fill(limits::WORK_MAX);
    }

    /// Gives it so much, and forgets what it had.
    pub(crate) fn fill(&self, units: u64) {
        self.full.set(units);
        self.left.set(units);
        self.empty.set(false);
        self.look_at.set(units.saturating_sub(limits::WORK_UNTIMED));
        self.looked.set(None);
        self.took.set(Duration::ZERO);
    }

    /// In all, since it was new.
    pub(crate) fn spent(&self) -> u64 {
        // What was asked for and could not be paid has been worked for in part.
        let left = if self.empty.get() { 0 } else { self.left.get() };
        self.before.get() + self.full.get() - left
    }

    pub(crate) fn pay(&self, units: u64) -> bool {
        match self.left.get().checked_sub(units) {
            Some(left)
                if !self.empty.get() && (left > self.look_at.get() || self.in_time(left)) =>
            {
                self.left.set(left);
                true
            }
            _ => {
                self.empty.set(true);
                false
            }
        }
    }

    fn in_time(&self, left: u64) -> bool {
        self.look_at.set(left.saturating_sub(limits::WORK_UNTIMED));
        let now = clock_gettime(ClockId::ThreadCPUTime);
        let now = Duration::try_from(now).expect("a thread's time does not lie before its start");
        let before = self.looked.replace(Some(now)).unwrap_or(now);
        // A machine that stood still for once must not end what is short.
        let took = now.saturating_sub(before).min(limits::WORK_GAP_MAX);
        self.took.set(self.took.get().saturating_add(took));
        let units = u32::try_from(self.full.get()).unwrap_or(u32::MAX);
        self.took.get() <= self.time_per_unit.saturating_mul(units)
    }

    /// Pays for matching a regular expression against so many bytes of text.
    pub(crate) fn pay_pattern(&self, pattern: &[u8], bytes: u64) -> bool {
        let states = lists::pattern_states(pattern);
        let work = states.saturating_add(bytes.saturating_mul(states) / 8);
        self.pay(work.saturating_add(bytes))
    }

    /// Pays for a whole value.
    pub(crate) fn weigh(&self, value: &Val) -> bool {
        self.weigh_at(value, 0)
    }

    fn weigh_at(&self, value: &Val, depth: usize) -> bool {
        match value {
            Val::Null | Val::Bool(_) | Val::Num(_) => self.pay(1),
            Val::TStr(bytes) | Val::BStr(bytes) => self.pay(text_units(bytes.len())),
            _ if depth >= limits::JSON_DEPTH_MAX => {
                self.empty.set(true);
                false
            }
            Val::Arr(items) => {
                self.pay(1) && items.iter().all(|item| self.weigh_at(item, depth + 1))
            }
            Val::Obj(members) => {
                self.pay(1)
                    && members.iter().all(|(key, item)| {
                        self.weigh_at(key, depth + 1) && self.weigh_at(item, depth + 1)
                    })
            }
        }
    }
}

/// What calling a filter takes, with what the interpreter does from one filter of the meter to the next, in most expressions.
const CALL_UNITS: u64 = 10;

/// A string longer than any result may be costs more than there is.
fn text_units(bytes: usize) -> u64 {
    if bytes > 2 * limits::RESULT_BYTES_MAX { u64::MAX } else { 1 + bytes as u64 / 16 }
}

fn units(value: &Val) -> u64 {
    let meter = Meter::new();
    if meter.weigh(value) { limits::WORK_MAX - meter.left.get() } else { limits::WORK_MAX }
}

fn empty() -> Error<Val> {
    Error::str("the expression takes too much work")
}

/// Pays for the input and hands it on.
pub(crate) const CHARGE: &str = "%charge";
/// Pays for putting the input in order, and hands it on: each part is compared several times.
pub(crate) const SORT: &str = "%sort";
/// Pays one unit.
pub(crate) const STEP: &str = "%step";
/// Pays for assigning to so many places of each part of the input, and hands it on.
pub(crate) const ASSIGN: &str = "%assign";
/// Pays for the outermost collection or string alone.
pub(crate) const WIDTH: &str = "%width";
/// Pays for every byte of a string.
pub(crate) const BYTES: &str = "%bytes";
/// Refuses collections as an index, and pays.
pub(crate) const KEY: &str = "%key";
/// Pays for each pair of a part of the input and a part of the argument.
pub(crate) const PRODUCT: &str = "%product";
/// Pays for matching the argument's regular expression against the input.
pub(crate) const PATTERN: &str = "%pattern";
/// A product that pays for a repeated string and refuses endless digits.
pub(crate) const TIMES: &str = "%times";

fn done<'a>(meter: &Meter, paid: bool, value: Val) -> jaq_core::ValXs<'a, Val> {
    let result: ValX<'a, Val> =
        if paid && meter.pay(CALL_UNITS) { Ok(value) } else { Err(empty().into()) };
    box_once(result)
}

/// The meter's own filters, and those of jq that would be slow or unsafe as jaq has them.
fn funs<D: for<'a> DataT<V<'a> = Val, Data<'a> = Run<'a>>>() -> impl Iterator<Item = Fun<D>> {
    paying().into_vec().into_iter().map(run)
}

#[expect(clippy::too_many_lines, reason = "a table, each row on its own")]
fn paying<D: for<'a> DataT<V<'a> = Val, Data<'a> = Run<'a>>>() -> Box<[Filter<RunPtr<D>>]> {
    Box::new([
        (CHARGE, v(0), |cv| {
            let meter = cv.0.data().meter;
            done(meter, meter.weigh(&cv.1), cv.1)
        }),
        (SORT, v(0), |cv| {
            let meter = cv.0.data().meter;
            done(meter, meter.pay(units(&cv.1).saturating_mul(8)), cv.1)
        }),
        (STEP, v(0), |cv| {
            let meter = cv.0.data().meter;
            done(meter, meter.pay(1), cv.1)
        }),
        (ASSIGN, v(1), |mut cv| {
            let places = cv.0.pop_var();
            let meter = cv.0.data().meter;
            let places = if let Val::Num(places) = &places { places.as_isize() } else { None };
            let places = places.and_then(|places| u64::try_from(places).ok()).unwrap_or(u64::MAX);
            let work = units(&cv.1).saturating_mul(places).saturating_mul(CALL_UNITS);
            done(meter, meter.pay(work), cv.1)
        }),
        (WIDTH, v(0), |cv| {
            let meter = cv.0.data().meter;
            done(meter, meter.pay(width(&cv.1)), cv.1)
        }),
        (BYTES, v(0), |cv| {
            let meter = cv.0.data().meter;
            let bytes = long(&cv.1);
            done(meter, meter.pay(bytes) && meter.weigh(&cv.1), cv.1)
        }),
        (KEY, v(0), |cv| {
            let meter = cv.0.data().meter;
            if matches!(cv.1, Val::Arr(_) | Val::Obj(_)) {
                return box_once(Err(Error::str("an index must be a string or a number").into()));
            }
            done(meter, meter.weigh(&cv.1), cv.1)
        }),
        (PRODUCT, v(1), |mut cv| {
            let with = cv.0.pop_var();
            let meter = cv.0.data().meter;
            let pairs = units(&cv.1).saturating_mul(units(&with));
            let bytes = long(&cv.1).saturating_mul(long(&with)) / 16;
            done(meter, meter.pay(pairs.saturating_add(bytes)), cv.1)
        }),
        (PATTERN, v(1), |mut cv| {
            let pattern = cv.0.pop_var();
            let meter = cv.0.data().meter;
            let pattern = if let Val::TStr(pattern) = &pattern { &pattern[..] } else { &[] };
            done(meter, meter.pay_pattern(pattern, long(&cv.1)), cv.1)
        }),
        (TIMES, v(2), |mut cv| {
            let right = cv.0.pop_var();
            let left = cv.0.pop_var();
            let meter = cv.0.data().meter;
            let paid = match (&left, &right) {
                (Val::TStr(text) | Val::BStr(text), Val::Num(count))
                | (Val::Num(count), Val::TStr(text) | Val::BStr(text)) => {
                    let count =
                        count.as_isize().map_or(u64::MAX, |n| u64::try_from(n).unwrap_or(0));
                    let bytes = count.saturating_mul(text.len() as u64);
                    meter.pay(text_units(usize::try_from(bytes).unwrap_or(usize::MAX)))
                }
                (Val::Num(Num::BigInt(_)), Val::Num(_))
                | (Val::Num(_), Val::Num(Num::BigInt(_))) => {
                    let digits = |n: &Val| n.to_string().len();
                    meter.pay(1) && digits(&left) + digits(&right) <= limits::NUMBER_CHARS_MAX
                }
                _ => meter.weigh(&left) && meter.weigh(&right),
            };
            if !paid || !meter.pay(CALL_UNITS) {
                return box_once(Err(empty().into()));
            }
            box_once((left * right).map_err(Into::into))
        }),
        ("fromjson", v(0), |cv| {
            let Val::TStr(text) = &cv.1 else {
                return box_once(Err(Error::typ(cv.1, "string").into()));
            };
            let value = str::from_utf8(text)
                .map_err(|_| Error::str("cannot parse text that is not UTF-8"))
                .and_then(|text| json::check(text).map_err(Error::str))
                .and_then(|()| jaq_json::read::parse_single(text).map_err(Error::str));
            box_once(value.map_err(Into::into))
        }),
        ("add", v(0), |cv| box_once(lists::add(cv.1).map_err(Into::into))),
        ("join", v(1), |mut cv| {
            let separator = cv.0.pop_var();
            let meter = cv.0.data().meter;
            // Each element may be short, and the separator long.
            let paid = meter.pay(width(&cv.1).saturating_mul(units(&separator)));
            if !paid {
                return box_once(Err(empty().into()));
            }
            box_once(lists::join(&cv.1, &separator).map_err(Into::into))
        }),
        ("from_entries", v(0), |cv| box_once(lists::from_entries(cv.1).map_err(Into::into))),
        ("flatten", v(0), |cv| {
            box_once(lists::flatten(cv.1, limits::JSON_DEPTH_MAX).map_err(Into::into))
        }),
        ("flatten", v(1), |mut cv| {
            let depth = cv.0.pop_var();
            let depth = if let Val::Num(depth) = &depth { depth.as_isize() } else { None };
            let depth = depth.and_then(|depth| usize::try_from(depth).ok());
            let flat = match depth {
                Some(depth) => lists::flatten(cv.1, depth.min(limits::JSON_DEPTH_MAX)),
                None => {
                    Err(Error::str("flatten's depth must be a whole number that is not negative"))
                }
            };
            box_once(flat.map_err(Into::into))
        }),
    ])
}

fn long(value: &Val) -> u64 {
    match value {
        Val::TStr(text) | Val::BStr(text) => text.len() as u64,
        Val::Null | Val::Bool(_) | Val::Num(_) | Val::Arr(_) | Val::Obj(_) => 0,
    }
}

fn width(value: &Val) -> u64 {
    match value {
        Val::Arr(items) => 1 + items.len() as u64,
        Val::Obj(members) => 1 + members.len() as u64,
        Val::TStr(text) | Val::BStr(text) => text_units(text.len()),
        Val::Null | Val::Bool(_) | Val::Num(_) => 1,
    }
}

/// All native filters; the first of a name counts.
pub(crate) fn natives() -> impl Iterator<Item = (&'static str, Box<[Bind]>, Native<Metered>)> {
    funs::<Metered>().chain(jaq_core::funs()).chain(jaq_std::funs()).chain(jaq_json::funs())
}
