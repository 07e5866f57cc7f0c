//! What a list's order tells: tasks that nothing reaches, and loops that would turn for ever.

use baton_core::{
    TaskId,
    workflow::{Backoff, Kind, Task},
};

use crate::tasks::{Draft, Tasks, index};

pub(crate) fn check(tasks: &mut Tasks<'_>) {
    let drafts = &tasks.drafts;
    let has_errors = tasks.builder.sink.has_errors();
    let progress = progress(drafts);
    let mut reached = vec![false; drafts.len()];
    let mut findings = Vec::new();
    // A list begins where nothing precedes a task: gather the first of each.
    // What a function of the catalog does was looked at when it was deployed.
    let own = &drafts[..tasks.own];
    let firsts = own.iter().flat_map(|draft| firsts(&draft.task));
    for first in firsts {
        reach(drafts, first, &mut reached);
        if let Some(at) = idle_cycle(drafts, first, &progress) {
            findings.push((
                "loop-without-progress",
                at,
                "this task leads back to itself without a step or a wait in between",
                "let it wait, or loop with `for`",
            ));
        }
    }
    let mut listed = vec![false; drafts.len()];
    for draft in own {
        if let Some(next) = draft.task.following {
            listed[index(next)] = true;
        }
    }
    for (i, draft) in own.iter().enumerate() {
        // A delay or a limit that was refused is not seen here.
        if !has_errors && is_endless(&draft.task) {
            findings.push((
                "endless-retry",
                draft.place,
                "its retry has neither a delay nor a limit: it may begin again at once, for ever",
                "give the retry a `delay` and a `limit`",
            ));
        }
        if listed[i] && !reached[i] && !draft.made {
            findings.push((
                "unreachable",
                draft.place,
                "nothing leads to this task",
                "remove it, or name it in a `then`",
            ));
        }
    }
    for (code, place, message, hint) in findings {
        tasks.builder.sink.warn(code, place, message, hint);
    }
}

fn is_endless(task: &Task) -> bool {
    let Kind::Try { catch, .. } = &task.kind else { return false };
    catch.retry.as_ref().is_some_and(|retry| {
        let pauses = retry.delay.is_some() || retry.jitter.is_some();
        let ends = retry.attempts_max.is_some() || retry.duration_max.is_some();
        !pauses && !ends && retry.backoff == Backoff::Constant
    })
}

fn firsts(task: &Task) -> Vec<TaskId> {
    match &task.kind {
        Kind::Do { first } | Kind::For { first, .. } => first.iter().copied().collect(),
        Kind::Try { first, catch } => first.iter().chain(&catch.first).copied().collect(),
        Kind::Fork { branches, .. } => branches.clone(),
        Kind::Map { body, .. } => vec![*body],
        Kind::Listen(listen) => listen.each.iter().filter_map(|each| each.first).collect(),
        Kind::Tick { .. }
        | Kind::Emit { .. }
        | Kind::Run { .. }
        | Kind::Function { .. }
        | Kind::Step { .. }
        | Kind::Set { .. }
        | Kind::Switch { .. }
        | Kind::Raise { .. }
        | Kind::Wait { .. } => Vec::new(),
    }
}

fn reach(drafts: &[Draft], first: TaskId, reached: &mut [bool]) {
    let mut open = vec![first];
    while let Some(id) = open.pop() {
        if !std::mem::replace(&mut reached[index(id)], true) {
            open.extend(drafts[index(id)].task.successors().into_iter().map(|(_, to)| to));
        }
    }
}

/// Whether a step or a wait stands in a task; tasks inside come after it, so the last are looked at first.
fn progress(drafts: &[Draft]) -> Vec<bool> {
    let mut progress = vec![false; drafts.len()];
    for (i, draft) in drafts.iter().enumerate().rev() {
        progress[i] = match &draft.task.kind {
            Kind::Step { .. }
            | Kind::Wait { .. }
            | Kind::Function { .. }
            | Kind::Tick { .. }
            | Kind::Emit { .. }
            | Kind::Listen(_)
            | Kind::Run { .. } => true,
            Kind::Do { .. }
            | Kind::For { .. }
            | Kind::Fork { .. }
            | Kind::Map { .. }
            | Kind::Try { .. }
            | Kind::Set { .. }
            | Kind::Switch { .. }
            | Kind::Raise { .. } => firsts(&draft.task).into_iter().any(|first| {
                let mut at = Some(first);
                while let Some(id) = at {
                    if progress[index(id)] {
                        return true;
                    }
                    at = drafts[index(id)].task.following;
                }
                false
            }),
        };
    }
    progress
}

/// A cycle among the tasks of a list that neither work nor wait.
fn idle_cycle(
    drafts: &[Draft],
    first: TaskId,
    progress: &[bool],
) -> Option<crate::diagnostic::Place> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        Open,
        Done,
    }
    let mut marks = std::collections::BTreeMap::new();
    let mut roots = vec![first];
    // Every task of the list, reached over idle ones or not, may begin a cycle.
    let mut at = Some(first);
    while let Some(id) = at {
        roots.push(id);
        at = drafts[index(id)].task.following;
    }
    for root in roots {
        let mut path = vec![(root, drafts[index(root)].task.successors())];
        if progress[index(root)] || marks.contains_key(&root) {
            continue;
        }
        marks.insert(root, Mark::Open);
        while let Some((id, open)) = path.last_mut() {
            let id = *id;
            let Some((_, next)) = open.pop() else {
                marks.insert(id, Mark::Done);
                path.pop();
                continue;
            };
            if progress[index(next)] {
                continue;
            }
            match marks.get(&next) {
                Some(Mark::Open) => return Some(drafts[index(id)].place),
                Some(Mark::Done) => {}
                None => {
                    marks.insert(next, Mark::Open);
                    path.push((next, drafts[index(next)].task.successors()));
                }
            }
        }
    }
    None
}
