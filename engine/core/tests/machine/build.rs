//! Workflows for tests, written as trees.

use std::sync::Arc;

use baton_core::{
    TaskId, Workflow,
    workflow::{
        Backoff, Case, Catch, Correlate, Each, EventFilter, Filter, Function, Hash, Kind, Listen,
        Matcher, Name, Once, Read, Retry, Schedule, Schema, Task, Then, Until,
    },
};

use crate::table::{Table, Term};

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) what: What,
    pub(crate) condition: Option<Term>,
    pub(crate) input: Option<Term>,
    pub(crate) output: Option<Term>,
    pub(crate) output_bytes_max: Option<u32>,
    pub(crate) export: Option<Term>,
    pub(crate) timeout_ms: Option<u64>,
    /// What undoes it.
    pub(crate) undo: Option<Vec<Node>>,
    pub(crate) then: Go,
    pub(crate) from_around: bool,
    /// By its number: the document is 0.
    pub(crate) subject: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Do(Vec<Node>),
    Step {
        attempts_max: u32,
        arguments: Option<Term>,
        awaits: bool,
        /// Its key, and whether what another has done is enough.
        once: Option<(Term, bool)>,
    },
    /// A function of the document whose body is the first task of the document: a call of itself, when it is inside it.
    CallFirst,
    Set(Term),
    Switch(Vec<(Option<Term>, Go)>),
    For {
        items: Term,
        condition: Option<Term>,
        body: Vec<Node>,
    },
    Fork {
        compete: bool,
        branches: Vec<Node>,
    },
    Map {
        items: Term,
        concurrency: u32,
        collect: bool,
        body: Box<Node>,
    },
    Try {
        body: Vec<Node>,
        handler: Handler,
    },
    Raise(Term),
    Wait(Term),
    /// Every so many milliseconds.
    Tick(u32),
    Emit(Term),
    Listen(Listens),
    Run {
        awaited: bool,
        input: Term,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Listens {
    /// One filter for each letter; an event must have it.
    pub(crate) letters: &'static str,
    /// What all events must agree on, and what that must be.
    pub(crate) correlate: Option<(Term, Option<Term>)>,
    pub(crate) until: Enough,
    pub(crate) body: Option<Vec<Node>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Enough {
    First,
    All,
    Holds(Term),
    Events { letters: &'static str, all: bool },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Handler {
    pub(crate) status: Option<u16>,
    pub(crate) when: Option<Term>,
    pub(crate) retries: Option<Retries>,
    pub(crate) body: Vec<Node>,
    pub(crate) then: Option<Go>,
}

#[derive(Clone, Debug)]
pub(crate) struct Retries {
    pub(crate) when: Option<Term>,
    pub(crate) delay_ms: u64,
    pub(crate) exponential: bool,
    pub(crate) jitter_ms: Option<u64>,
    pub(crate) attempts_max: Option<u32>,
    pub(crate) duration_max_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Go {
    On,
    Exit,
    End,
    /// To a task of the same list, by its place (of those that there are).
    To(usize),
}

pub(crate) fn node(name: &str, what: What) -> Node {
    Node {
        name: name.into(),
        what,
        condition: None,
        input: None,
        output: None,
        output_bytes_max: None,
        export: None,
        timeout_ms: None,
        undo: None,
        then: Go::On,
        from_around: false,
        subject: None,
    }
}

/// The whole document; its own input, output and timeout are those of `root`, a [`What::Do`].
pub(crate) fn build(root: &Node) -> (Workflow, Table) {
    let mut building = Building { tasks: Vec::new(), table: Table::default() };
    building.add(root);
    let name = Name { namespace: "tests".into(), name: "workflow".into(), version: "1.0.0".into() };
    let workflow = Workflow { name, hash: Hash([7; 32]), tasks: building.tasks };
    (workflow, building.table)
}

struct Building {
    tasks: Vec<Task>,
    table: Table,
}

impl Building {
    fn add(&mut self, node: &Node) -> TaskId {
        let id = TaskId(u32::try_from(self.tasks.len()).expect("tests are small"));
        let task = Task {
            name: node.name.as_str().into(),
            pointer: format!("/{}", node.name).into(),
            following: None,
            condition: self.term(node.condition.as_ref()),
            input_schema: None,
            input: self.term(node.input.as_ref()),
            output: self.term(node.output.as_ref()),
            output_schema: node.output_bytes_max.map(Schema),
            export: self.term(node.export.as_ref()),
            export_schema: None,
            timeout: node.timeout_ms.map(|after| self.ms(after)),
            compensation: None,
            then: Then::Continue,
            from_around: node.from_around,
            subject: node.subject.map(TaskId),
            kind: Kind::Do { first: None },
        };
        self.tasks.push(task);
        let kind = self.kind(&node.what);
        let undo =
            node.undo.as_ref().map(|undo| self.add(&self::node("undo", What::Do(undo.clone()))));
        self.tasks[id.0 as usize].kind = kind;
        self.tasks[id.0 as usize].compensation = undo;
        id
    }

    fn kind(&mut self, what: &What) -> Kind {
        match what {
            What::Do(body) => Kind::Do { first: self.list(body) },
            What::Step { attempts_max, arguments, awaits, once } => Kind::Step {
                once: once.clone().map(|(key, attach)| Once { key: self.table.add(key), attach }),
                facts: arguments.clone().map(|term| self.table.add(term)),
                function: Function { department: "tests".into(), name: "step".into() },
                arguments: self.term(arguments.as_ref()),
                attempts_max: *attempts_max,
                secrets: Vec::new(),
                awaits: *awaits,
            },
            What::CallFirst => Kind::Function { body: TaskId(1), arguments: None },
            What::Set(value) => Kind::Set { value: self.table.add(value.clone()) },
            // The places of cases are known when the list is.
            What::Switch(cases) => Kind::Switch {
                cases: cases
                    .iter()
                    .map(|(when, _)| Case {
                        name: "case".into(),
                        when: self.term(when.as_ref()),
                        then: Then::Continue,
                    })
                    .collect(),
            },
            What::For { items, condition, body } => Kind::For {
                each: "item".into(),
                at: "index".into(),
                items: self.table.add(items.clone()),
                condition: self.term(condition.as_ref()),
                first: self.list(body),
            },
            What::Fork { compete, branches } => Kind::Fork {
                branches: branches.iter().map(|branch| self.add(branch)).collect(),
                compete: *compete,
            },
            What::Map { items, concurrency, collect, body } => Kind::Map {
                each: "item".into(),
                at: "index".into(),
                items: self.table.add(items.clone()),
                body: self.add(body),
                concurrency: *concurrency,
                collect: *collect,
            },
            What::Try { body, handler } => {
                Kind::Try { first: self.list(body), catch: self.catch(handler) }
            }
            What::Raise(error) => Kind::Raise { error: self.table.add(error.clone()) },
            What::Wait(duration) => Kind::Wait { duration: self.table.add(duration.clone()) },
            What::Tick(every) => Kind::Tick { schedule: Schedule(*every) },
            What::Emit(event) => Kind::Emit { event: self.table.add(event.clone()) },
            What::Listen(listens) => Kind::Listen(self.listen(listens)),
            What::Run { awaited, input } => {
                Kind::Run { workflow: self.table.add(input.clone()), awaited: *awaited }
            }
        }
    }

    fn listen(&mut self, listens: &Listens) -> Listen {
        let filters = self.filters(listens.letters, listens.correlate.as_ref());
        let until = match &listens.until {
            Enough::First => Until::First,
            Enough::All => Until::All,
            Enough::Holds(term) => Until::Holds(self.table.add(term.clone())),
            Enough::Events { letters, all } => {
                Until::Events { filters: self.filters(letters, None), all: *all }
            }
        };
        let each = listens.body.as_ref().map(|body| Each {
            item: "item".into(),
            at: "index".into(),
            first: self.list(body),
            output: None,
            export: Some(self.table.add(Term::Value)),
        });
        Listen { until, filters, read: Read::Data, each }
    }

    fn filters(
        &mut self,
        letters: &str,
        correlate: Option<&(Term, Option<Term>)>,
    ) -> Vec<EventFilter> {
        let correlate = correlate.map(|(from, expect)| Correlate {
            key: "key".into(),
            from: self.table.add(from.clone()),
            expect: self.term(expect.as_ref()),
        });
        let filter = |letter| EventFilter {
            matcher: Matcher(u32::from(letter)),
            correlate: correlate.clone().into_iter().collect(),
        };
        letters.chars().map(filter).collect()
    }

    fn catch(&mut self, handler: &Handler) -> Catch {
        Catch {
            filter: Filter { status: handler.status, ..Filter::default() },
            when: self.term(handler.when.as_ref()),
            except_when: None,
            variable: Arc::from("error"),
            retry: handler.retries.as_ref().map(|retries| Retry {
                when: self.term(retries.when.as_ref()),
                except_when: None,
                delay: Some(self.ms(retries.delay_ms)),
                backoff: if retries.exponential { Backoff::Exponential } else { Backoff::Constant },
                jitter: retries.jitter_ms.map(|most| (self.ms(0), self.ms(most))),
                attempts_max: retries.attempts_max,
                duration_max: retries.duration_max_ms.map(|most| self.ms(most)),
            }),
            first: self.list(&handler.body),
            // `catch.then` leads out of the list of the `try`; tests need no goto there.
            then: handler.then.map(|go| then(go, &[])),
        }
    }

    fn list(&mut self, nodes: &[Node]) -> Option<TaskId> {
        let ids: Vec<TaskId> = nodes.iter().map(|node| self.add(node)).collect();
        for (place, (node, id)) in nodes.iter().zip(&ids).enumerate() {
            let task = &mut self.tasks[id.0 as usize];
            task.following = ids.get(place + 1).copied();
            task.then = then(node.then, &ids);
            if let (Kind::Switch { cases }, What::Switch(written)) = (&mut task.kind, &node.what) {
                for (case, (_, go)) in cases.iter_mut().zip(written) {
                    case.then = then(*go, &ids);
                }
            }
        }
        ids.first().copied()
    }

    fn term(&mut self, term: Option<&Term>) -> Option<baton_core::workflow::Expression> {
        term.map(|term| self.table.add(term.clone()))
    }

    fn ms(&mut self, ms: u64) -> baton_core::workflow::Expression {
        self.table.add(Term::Text(ms.to_string()))
    }
}

fn then(go: Go, list: &[TaskId]) -> Then {
    match go {
        Go::To(place) if !list.is_empty() => Then::Task(list[place % list.len()]),
        Go::On | Go::To(_) => Then::Continue,
        Go::Exit => Then::Exit,
        Go::End => Then::End,
    }
}
