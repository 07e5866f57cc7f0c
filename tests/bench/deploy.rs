//! How long it takes to deploy a large workflow, as its author sees it: one request over gRPC to an engine that runs.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Result, ensure};
use baton_tests::{Cluster, DEADLINE, Setup};

use crate::meter::median;
use crate::{load, say};

/// The first ones connect, and find the engine's memory fresh; they are left out.
const WARM_UP: u32 = 3;
const DEPLOYMENTS: u32 = 40;

const BLOCKS: u32 = 20;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Deployed {
    pub(crate) median_ms: f64,
    pub(crate) max_ms: f64,
}

/// Each time another version, so that none is known.
pub(crate) async fn measure() -> Result<Deployed> {
    let mut cluster = Cluster::start(Setup::default()).await?;
    cluster.worker("bench-worker", "bench-1", &[])?;
    let api = cluster.api()?;
    api.served(&["finance.pay"], DEADLINE).await?;
    let mut times_ms = Vec::new();
    for version in 0..WARM_UP + DEPLOYMENTS {
        let source = workflow(version);
        let began = Instant::now();
        let definition = api.deploy(&source).await?;
        let ms = began.elapsed().as_secs_f64() * 1e3;
        ensure!(definition.version == format!("1.0.{version}"), "another version was deployed");
        if version >= WARM_UP {
            times_ms.push(ms);
        }
    }
    cluster.stop().await?;
    let max_ms = times_ms.iter().copied().fold(f64::MIN, f64::max);
    let median_ms = median(times_ms);
    say(&format!("{DEPLOYMENTS} deployments of 200 tasks, median {median_ms:.1} ms"));
    Ok(Deployed { median_ms, max_ms })
}

/// 200 tasks: sets, switches, calls with arguments, loops and tries, with the expressions that such have.
fn workflow(version: u32) -> String {
    let namespace = load::NAMESPACE;
    let mut text = format!(
        "document: {{ dsl: '1.0.3', namespace: {namespace}, name: two-hundred-tasks, version: '1.0.{version}' }}\ndo:\n"
    );
    for block in 1..=BLOCKS {
        text.push_str(&BLOCK.replace('#', &block.to_string()));
    }
    let _ = writeln!(text, "output: {{ as: '${{ {{ total, reference }} }}' }}");
    text
}

/// Ten tasks, of which three are inside others.
const BLOCK: &str = r#"
  - check#:
      call: check-budget
      with:
        costCentre: ${ .order.costCentre }
        amount: '${ [.order.lines[] | .price * .quantity] | add }'
        currency: ${ .order.currency // "EUR" }
        requester: ${ $workflow.input.requester.id }
      timeout: { after: PT5M }
      output: { as: '${ $input + { budget: . } }' }
  - decide#:
      switch:
        - small: { when: .budget.ok and .order.total < 1000, then: summarise# }
        - large: { when: .order.total >= 1000 and (.order.approvals | length) < 2, then: approve# }
        - otherwise: { then: approve# }
  - approve#:
      if: .order.requester != .order.approver
      call: approve
      with:
        order: ${ .order.id }
        text: ${ "Order \(.order.id) of \(.order.requester.name), \(.order.lines | length) lines" }
        urgent: ${ .order.due < $context.today }
      output: { as: '${ $input + { approval: { by: .by, at: .at } } }' }
      export: { as: '${ $context + { approved: (($context.approved // []) + [.approval.by]) } }' }
  - summarise#:
      set:
        order: ${ .order }
        total: '${ [.order.lines[] | .price * .quantity] | add }'
        skus: '${ .order.lines | map(.sku) | unique }'
        first: ${ .order.lines[0].sku }
  - eachLine#:
      for: { each: line, in: '${ .order.lines }', at: place }
      while: .stopped != true
      do:
        - reserve#:
            call: reserve
            with: { sku: '${ $line.sku }', quantity: '${ $line.quantity }', place: '${ $place + 1 }' }
            output: { as: '${ $input + { reserved: (($input.reserved // 0) + .quantity) } }' }
  - pay#:
      try:
        - transfer#:
            input: { from: '${ { order: .order, total: .total, account: .order.supplier.account } }' }
            call: pay
            with:
              account: ${ .account }
              amount: ${ .total }
              reference: ${ .order.id + "-" + (.total | tostring) }
      catch:
        errors: { with: { type: https://example.com/errors/refused } }
        as: refusal
        when: ${ $refusal.status >= 500 }
        retry: { delay: PT1S, backoff: { exponential: {} }, limit: { attempt: { count: 5 } } }
        do:
          - note#:
              set: { order: '${ .order }', refused: '${ $refusal.title }' }
  - close#:
      set: '${ { order: .order, total: (.total // 0), reference: (.reference // "none") } }'
      output: { as: '${ . + { done: true } }' }
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workflow_has_as_many_tasks_as_the_figure_says() {
        let compiled = baton_dsl::compile(&workflow(1)).unwrap();
        assert_eq!(compiled.workflow.tasks.len(), 1 + 200, "the document itself is the first");
    }
}
