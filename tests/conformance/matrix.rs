//! Compares what docs/profile.md says with what has happened, both ways.

use std::collections::BTreeSet;

use crate::examples::Example;
use crate::profile::{Exception, Profile, Shown, Support};
use crate::stories::Story;

/// Features of the language that the page must have a row for.
const ROWS: usize = 101;

/// Everything that is otherwise than the page says.
pub(crate) fn compare(
    page: &Profile,
    own: &[Story],
    kit: &[Story],
    examples: &[Example],
) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(own.iter().filter_map(outcome));
    found.extend(rows(page, own));
    found.extend(traps(page, own));
    found.extend(exceptions(
        "scenario",
        page,
        &page.kit,
        kit.iter().map(|story| {
            let why = (!story.has_passed()).then(|| story.outcome.to_string());
            (story.to_string(), why)
        }),
    ));
    found.extend(exceptions(
        "example",
        page,
        &page.examples,
        examples.iter().map(|example| (example.name.clone(), example.refusal.clone())),
    ));
    found
}

fn outcome(story: &Story) -> Option<String> {
    match (story.is_pending(), story.has_passed()) {
        (false, false) => Some(format!("{story}: {}", story.outcome)),
        (true, true) => Some(format!("{story}: passes now; take its @pending away")),
        (false, true) | (true, false) => None,
    }
}

fn rows(page: &Profile, own: &[Story]) -> Vec<String> {
    let mut found = Vec::new();
    let numbers = page.rows.iter().map(|row| row.number.clone());
    if !numbers.eq((1..=ROWS).map(|number| number.to_string())) {
        found.push(format!("the matrix has not each of the rows 1 to {ROWS} once, in order"));
    }
    for story in own {
        let mut rows = story.rows().peekable();
        if rows.peek().is_none() {
            found.push(format!("{story}: has no row"));
        }
        let unknown = rows.filter(|tag| !page.rows.iter().any(|row| row.number == *tag));
        found.extend(unknown.map(|tag| format!("{story}: there is no row {tag}")));
    }
    for row in &page.rows {
        let number = &row.number;
        let stories = own.iter().filter(|story| story.rows().any(|tag| tag == number));
        let (pending, settled): (Vec<_>, Vec<_>) = stories.partition(|story| story.is_pending());
        let complaint = match row.support {
            Support::Yes | Support::No if settled.is_empty() => "has no scenario",
            Support::Yes | Support::No if !pending.is_empty() => "has a pending scenario",
            Support::InPart if settled.is_empty() => "has no scenario that is not pending",
            Support::NotYet if pending.is_empty() => "has no pending scenario",
            Support::Yes | Support::InPart | Support::NotYet | Support::No => "",
        };
        if !complaint.is_empty() {
            found.push(format!("row {number} is {:?} and {complaint}", row.support));
        }
        found.extend(shown(&format!("row-{number}"), &row.shown, own));
    }
    found
}

fn traps(page: &Profile, own: &[Story]) -> Vec<String> {
    let mut found = Vec::new();
    let told = page.traps.iter().map(|trap| trap.name.as_str()).collect::<BTreeSet<_>>();
    for story in own {
        let unknown = story.traps().filter(|trap| !told.contains(trap));
        found.extend(unknown.map(|trap| format!("{story}: the page has no trap {trap}")));
    }
    for trap in &page.traps {
        found.extend(shown(&format!("trap-{}", trap.name), &trap.shown, own));
        found.extend(shown(&format!("row-{}", trap.row), &trap.shown, own));
    }
    found
}

/// The scenario that the page names must be there and say what it is for.
fn shown(tag: &str, shown: &Shown, own: &[Story]) -> Option<String> {
    let named = |story: &&Story| story.feature == shown.feature && story.name == shown.name;
    match own.iter().find(named) {
        None => Some(format!("{tag}: there is no scenario `{shown}`")),
        Some(story) if !story.tags.contains(tag) => Some(format!("{story}: is not tagged {tag}")),
        Some(_) => None,
    }
}

/// What is refused must be on the page, and the other way round. Nothing at hand is no evidence.
fn exceptions(
    what: &str,
    page: &Profile,
    told: &[Exception],
    happened: impl ExactSizeIterator<Item = (String, Option<String>)>,
) -> Vec<String> {
    if happened.len() == 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for (name, refusal) in happened {
        let expected = told.iter().any(|exception| exception.name == name);
        match refusal {
            Some(why) if !expected => found.push(format!("the {what} {name}: {why}")),
            None if expected => found.push(format!("the {what} {name}: is taken now")),
            Some(_) | None => {}
        }
        known.insert(name);
    }
    for Exception { name, row } in told {
        if !known.contains(name) {
            found.push(format!("there is no {what} {name}"));
        }
        let because = page.rows.iter().find(|found| found.number == *row);
        if because.is_none_or(|row| row.support == Support::Yes) {
            found.push(format!("the {what} {name}: row {row} is no reason"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Row, Trap};
    use crate::stories::Outcome;

    fn story(tags: &[&str], outcome: Outcome) -> Story {
        Story {
            feature: "a.feature".into(),
            name: "It is so".into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            outcome,
        }
    }

    /// A page whose rows all have this support and are shown by the one story.
    fn page(support: Support) -> Profile {
        let shown = || Shown { feature: "a.feature".into(), name: "It is so".into() };
        let row = |number: usize| Row { number: number.to_string(), support, shown: shown() };
        Profile { rows: (1..=ROWS).map(row).collect(), ..Profile::default() }
    }

    fn all_rows(more: &[&str]) -> Vec<String> {
        let rows = (1..=ROWS).map(|row| format!("row-{row}"));
        rows.chain(more.iter().map(|tag| (*tag).to_owned())).collect()
    }

    #[track_caller]
    fn check(support: Support, tags: &[&str], outcome: Outcome, expected: &str) {
        let tags = all_rows(tags);
        let tags = tags.iter().map(String::as_str).collect::<Vec<_>>();
        let found = compare(&page(support), &[story(&tags, outcome)], &[], &[]);
        match expected {
            "" => assert!(found.is_empty(), "{found:?}"),
            text => assert!(found.iter().any(|complaint| complaint.contains(text)), "{found:?}"),
        }
    }

    #[test]
    fn what_is_supported_passes_and_what_is_not_yet_fails() {
        let failed = || Outcome::Failed("why".into());
        check(Support::Yes, &[], Outcome::Passed, "");
        check(Support::No, &[], Outcome::Passed, "");
        check(Support::NotYet, &["pending"], failed(), "");
        check(Support::Yes, &[], failed(), "failed: why");
        check(Support::Yes, &["pending"], failed(), "has no scenario");
        check(Support::NotYet, &["pending"], Outcome::Passed, "take its @pending away");
        check(Support::NotYet, &[], Outcome::Passed, "has no pending scenario");
        check(Support::InPart, &["pending"], failed(), "has no scenario that is not pending");
        check(Support::Yes, &["row-102"], Outcome::Passed, "there is no row 102");
        check(Support::Yes, &["trap-x"], Outcome::Passed, "no trap x");
    }

    #[test]
    fn a_row_without_a_scenario_is_found() {
        let found = compare(&page(Support::Yes), &[story(&["row-1"], Outcome::Passed)], &[], &[]);
        assert!(found.contains(&"row 2 is Yes and has no scenario".to_owned()), "{found:?}");
        assert!(!found.iter().any(|complaint| complaint.contains("row 1 ")), "{found:?}");
    }

    #[test]
    fn a_trap_needs_its_scenario() {
        let shown = Shown { feature: "a.feature".into(), name: "It is not so".into() };
        let trap = Trap { name: "x".into(), row: "1".into(), shown };
        let page = Profile { traps: vec![trap], ..page(Support::Yes) };
        let tags = all_rows(&["trap-x"]);
        let tags = tags.iter().map(String::as_str).collect::<Vec<_>>();
        let found = compare(&page, &[story(&tags, Outcome::Passed)], &[], &[]);
        assert!(found[0].contains("there is no scenario `a.feature: It is not so`"), "{found:?}");
    }

    #[test]
    fn examples_are_refused_only_where_the_page_says_why() {
        let refused = |name: &str, refusal: Option<&str>| Example {
            name: name.into(),
            refusal: refusal.map(Into::into),
        };
        let told = |name: &str| Exception { name: name.into(), row: "1".into() };
        let page = Profile { examples: vec![told("b"), told("d")], ..page(Support::No) };
        let happened = [refused("a", Some("why")), refused("b", None), refused("c", None)];
        let found = compare(&page, &[], &[], &happened);
        for text in ["example a: why", "example b: is taken now", "no example d"] {
            assert!(found.iter().any(|complaint| complaint.contains(text)), "{text}: {found:?}");
        }
    }
}
