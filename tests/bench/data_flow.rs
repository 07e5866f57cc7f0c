//! Measures what the data flow of one step costs in the engine: its `input.from`, the expressions in its arguments, its
//! `output.as` and `export.as`. Writes the figures of each round to standard output, as JSON.
//!
//! Measured as a difference, in one thread and without servers: an instance goes through ten steps by `decide` as a
//! partition calls it, once with expressions, and once with what they gave as constants in their places. Both record the
//! same events, so that what differs is the expressions alone. A process of its own, for it has the engine's allocator,
//! and the bare loop that the engine is measured against does not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use baton_core::event::{Report, Started};
use baton_core::{ActivationId, Attempt, Command, Event, InstanceId, Json, Timestamp};
use baton_dsl::Compiled;
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const INSTANCES_A_ROUND: u32 = 2_000;
const STEPS: u32 = 10;

fn main() -> Result<()> {
    let answers = (1..=STEPS).map(answer).collect::<Vec<_>>();
    let [typical, lists] =
        [Values::typical, Values::of_lists].map(|values| Pair::new(values, &answers));
    let (typical, lists) = (typical?, lists?);
    // One more, to warm up.
    let mut rounds = Vec::new();
    for _ in 0..=ROUNDS {
        let [typical, lists] = [&typical, &lists].map(|pair| pair.round(&answers));
        let ((typical, constants), (lists, _)) = (typical?, lists?);
        rounds.push(json!({ "typical_us": typical, "lists_us": lists, "constants_us": constants }));
    }
    writeln!(std::io::stdout().lock(), "{}", json!(rounds[1..]))?;
    Ok(())
}

/// The same workflow twice.
struct Pair {
    expressions: Flow,
    constants: Flow,
}

impl Pair {
    fn new(values: fn(u32) -> Values, answers: &[Json]) -> Result<Self> {
        let expressions = Flow::new(&(1..=STEPS).map(values).collect::<Vec<_>>())?;
        let told = expressions.run(answers)?;
        let constants = Flow::new(&given(&told))?;
        // The first events differ: they name the workflows.
        ensure!(
            constants.run(answers)?[1..] == told[1..],
            "the constants are not what the expressions give"
        );
        Ok(Self { expressions, constants })
    }

    /// Microseconds for the expressions of one step, and for all the rest that decisions about it do.
    fn round(&self, answers: &[Json]) -> Result<(f64, f64)> {
        let mut spent = [Duration::ZERO; 2];
        for _ in 0..INSTANCES_A_ROUND {
            for (flow, spent) in [&self.expressions, &self.constants].into_iter().zip(&mut spent) {
                let began = Instant::now();
                black_box(flow.run(answers)?);
                *spent += began.elapsed();
            }
        }
        let [with, without] =
            spent.map(|spent| spent.as_secs_f64() * 1e6 / f64::from(INSTANCES_A_ROUND * STEPS));
        Ok((with - without, without))
    }
}

/// A workflow, and how its instances begin.
struct Flow {
    compiled: Compiled,
    started: Arc<Started>,
}

impl Flow {
    fn new(steps: &[Values]) -> Result<Self> {
        let compiled = baton_dsl::compile(&document(steps)).map_err(|findings| {
            anyhow!("{}", findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
        let started = Started {
            workflow: compiled.workflow.hash,
            name: compiled.workflow.name.clone(),
            input: Json::from_text(order()),
            key: Arc::from(""),
            labels: BTreeMap::new(),
            traceparent: Arc::from(""),
            parent: None,
            carried: baton_core::guard::Carried::default(),
            by: "".into(),
        };
        Ok(Self { compiled, started: Arc::new(started) })
    }

    /// One instance from its start to its end, and all that it records.
    fn run(&self, answers: &[Json]) -> Result<Vec<Event>> {
        let Compiled { workflow, program, .. } = &self.compiled;
        let now = Timestamp(1_700_000_000_000);
        let started = Arc::clone(&self.started);
        let (mut instance, mut told) =
            baton_core::start(workflow, &program.turn(), InstanceId([7; 16]), started, now)
                .map_err(|(rejection, error)| anyhow!("{rejection}: {error:?}"))?;
        for answer in answers {
            let (activation, attempt) = scheduled(&told).context("no step was scheduled")?;
            let output = answer.clone();
            let report = Report::default();
            let command = Command::CompleteStep { activation, attempt, output, report };
            told.extend(baton_core::decide(
                &mut instance,
                workflow,
                &program.turn(),
                now,
                command,
            )?);
        }
        ensure!(instance.ended.is_some(), "the instance did not end");
        Ok(told)
    }
}

/// The step that is open.
fn scheduled(told: &[Event]) -> Option<(ActivationId, Attempt)> {
    let Event::StepScheduled { activation, attempt, .. } = told.last()? else { return None };
    Some((*activation, *attempt))
}

/// What stands in a step's keys.
#[derive(Default)]
struct Values {
    from: String,
    with: String,
    output: String,
    export: String,
}

impl Values {
    /// The mixture of the language's examples and of `tests/demo`: most are paths, some put a text or an object together.
    fn typical(step: u32) -> Self {
        Self {
            from: "'${ .order }'".to_owned(),
            with: format!(
                r#"
        supplier: '${{ .supplier.id }}'
        account: '${{ .supplier.account }}'
        amount: '${{ .total }}'
        currency: '${{ .currency }}'
        previous: '${{ $context.reference }}'
        reference: '${{ .id + "-{step}" }}'
        text: '${{ "Order \(.id) of \(.requester.name)" }}'"#
            ),
            output: "'${ { order: $input, reference: .reference } }'".to_owned(),
            export: "'${ $context + { reference: .reference } }'".to_owned(),
        }
    }

    /// What goes over lists and copies much.
    fn of_lists(step: u32) -> Self {
        Self {
            from: "'${ { order: .order, booked: $context.references } }'".to_owned(),
            with: format!(
                r#"
        supplier: '${{ .order.supplier.name + ", " + .order.supplier.city }}'
        amount: '${{ [.order.lines[] | .price * .quantity] | add }}'
        lines: '${{ [.order.lines[] | {{ sku, amount: (.price * .quantity) }}] }}'
        urgent: '${{ .order.due < "2026-09-01" }}'
        text: '${{ "Order \(.order.id), part {step} after \(.booked | length)" }}'"#
            ),
            output: "'${ { order: $input.order, reference: .reference } }'".to_owned(),
            export:
                "'${ $context + { references: (($context.references // []) + [.reference]) } }'"
                    .to_owned(),
        }
    }
}

/// What the expressions gave, for each step.
fn given(told: &[Event]) -> Vec<Values> {
    let mut steps: Vec<Values> = Vec::new();
    for event in told {
        if let Event::TaskEntered { input: Some(input), .. } = event {
            steps.push(Values { from: input.to_string(), ..Values::default() });
        }
        let Some(step) = steps.last_mut() else { continue };
        if let Event::StepScheduled { arguments: Some(arguments), .. } = event {
            step.with = arguments.to_string();
        }
        if let Event::TaskCompleted { output: Some(output), context: Some(context), .. } = event {
            step.output = output.to_string();
            step.export = context.to_string();
        }
    }
    steps
}

fn document(steps: &[Values]) -> String {
    let mut text =
        "document: { dsl: '1.0.3', namespace: finance, name: data-flow, version: '1.0.0' }\ndo:\n"
            .to_owned();
    for (place, Values { from, with, output, export }) in steps.iter().enumerate() {
        let _ = writeln!(
            text,
            "  - pay{place}:\n      call: pay\n      input: {{ from: {from} }}\n      with: {with}\n      \
             output: {{ as: {output} }}\n      export: {{ as: {export} }}"
        );
    }
    text
}

/// What every instance begins with: 1 KiB.
fn order() -> String {
    let line = |place: u32| {
        json!({
            "sku": format!("HX-{}", 4_000 + place),
            "text": "Hex bolt, zinc plated, M8 x 40",
            "price": 0.25 * f64::from(place + 1),
            "quantity": 100 * (place + 1),
            "unit": "pc",
        })
    };
    let order = json!({
        "id": "PO-2026-004711",
        "costCentre": "4200",
        "currency": "EUR",
        "total": 2_275.0,
        "due": "2026-08-14",
        "requester": { "id": "u-1192", "name": "Ada Lovelace", "mail": "ada@example.com" },
        "supplier": {
            "id": "s-88", "name": "Bolts & Sons", "street": "12 Foundry Lane", "city": "Leeds",
            "account": "GB29NWBK60161331926819",
        },
        "lines": (0..6).map(line).collect::<Vec<_>>(),
        "note": "Deliver to gate 3 between 7 and 11, and ring the bell.",
    });
    json!({ "order": order }).to_string()
}

/// What the worker gives for a step.
fn answer(step: u32) -> Json {
    let answer = json!({
        "reference": format!("TX-{}", 90_000 + step),
        "amount": 2_275.0,
        "fee": 0.35,
        "bank": "NWBKGB2L",
        "bookedAt": "2026-08-01T09:30:00Z",
    });
    Json::from_text(answer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_has_about_a_kibibyte() {
        assert!((900..1_200).contains(&order().len()), "{}", order().len());
    }

    #[test]
    fn constants_take_the_places_of_all_expressions() {
        let answers = (1..=STEPS).map(answer).collect::<Vec<_>>();
        for values in [Values::typical, Values::of_lists] {
            let flow = Flow::new(&(1..=STEPS).map(values).collect::<Vec<_>>()).unwrap();
            let steps = given(&flow.run(&answers).unwrap());
            assert_eq!(steps.len(), STEPS as usize);
            for Values { from, with, output, export } in steps {
                for value in [from, with, output, export] {
                    assert!(value.starts_with('{') && !value.contains('$'), "{value}");
                }
            }
        }
    }
}
