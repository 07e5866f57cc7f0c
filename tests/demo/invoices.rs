//! Two invoices that policies have something to say about: one waits for a manager, one is not paid.

use std::path::Path;

use anyhow::{Context, Result, bail};
use baton_proto::v1::event::Kind;
use baton_proto::v1::remedy::Kind as Remedy;
use baton_proto::v1::step_judged::Verdict;
use baton_proto::v1::{
    AnswerApprovalRequest, ApprovalItem, HistoryEvent, InboxRequest, Json, StepJudged, json,
};
use baton_tests::ledger::{self, Entry};
use baton_tests::world::code;
use baton_tests::{Api, DEADLINE, eventually};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const WORKFLOW: &str = include_str!("pay-invoice.yaml");

/// Who has the invoices paid, and who may say yes to it.
const CLERK: &str = "dora";
const MANAGER: &str = "max";

const DELIVERED: Invoice = Invoice {
    number: "INV-90417",
    supplier: "Severn Tower Cranes",
    iban: "GB29NWBK60161331926819",
    delivered_quantity: 1,
    amount_pennies: 6_125_000,
};

const NOT_DELIVERED: Invoice = Invoice {
    number: "INV-90418",
    supplier: "Blackwater Pumps",
    iban: "GB94BARC10201530093459",
    delivered_quantity: 0,
    amount_pennies: 348_000,
};

/// The workflow's input.
#[derive(Serialize)]
struct Invoice {
    number: &'static str,
    supplier: &'static str,
    iban: &'static str,
    delivered_quantity: u32,
    amount_pennies: i64,
}

/// A payment that people were asked about.
#[derive(Debug, Serialize)]
pub(crate) struct Approval {
    pub(crate) payment: Payment,
    pub(crate) asked: Asked,
    /// Who had it started, and the code of the engine's refusal when they approved it themselves.
    pub(crate) started_by: String,
    pub(crate) refused: String,
    pub(crate) group: String,
    pub(crate) approved_by: String,
    pub(crate) bank: Bank,
}

/// A payment that a policy forbids.
#[derive(Debug, Serialize)]
pub(crate) struct Denial {
    pub(crate) payment: Payment,
    pub(crate) asked: Asked,
    /// How the step failed.
    pub(crate) error: String,
    pub(crate) status: u32,
    pub(crate) bank: Bank,
}

/// A field that a worker was not given.
#[derive(Debug, Serialize)]
pub(crate) struct Mask {
    pub(crate) asked: Asked,
    pub(crate) field: String,
    /// What stands there in the instance's input.
    pub(crate) value: String,
    /// What the worker wrote into its book, of what it was given.
    pub(crate) booked: String,
}

/// What the bank was to be asked for, as the engine has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Payment {
    effect_key: String,
    pub(crate) amount_pennies: i64,
}

/// What policies were asked first about a step, and which of them led to the answer.
#[derive(Debug, Serialize)]
pub(crate) struct Asked {
    pub(crate) function: String,
    pub(crate) policies: Vec<String>,
    question: Value,
}

/// What stands in the bank's book about a payment.
#[derive(Debug, Serialize)]
pub(crate) struct Bank {
    pub(crate) asked: usize,
    pub(crate) paid_pennies: i64,
}

/// Starts both invoices, has people answer, and says what became of them.
pub(crate) async fn pay(url: &str, ledgers: &Path) -> Result<(Approval, Denial, Mask)> {
    let (clerk, manager) = (Api::called_by(url, CLERK)?, Api::called_by(url, MANAGER)?);
    clerk.deploy(WORKFLOW).await?;
    let id = start(&clerk, &NOT_DELIVERED).await?;
    let denial = denial(&clerk, &id, ledgers).await?;
    let id = start(&clerk, &DELIVERED).await?;
    let approval = approval(&clerk, &manager, &id, ledgers).await?;
    let mask = mask(&clerk, &id, ledgers).await?;
    Ok((approval, denial, mask))
}

async fn start(api: &Api, invoice: &Invoice) -> Result<String> {
    let input = serde_json::to_string(invoice)?;
    Ok(api.start("finance", "pay-invoice", &input, invoice.number).await?.id)
}

async fn denial(api: &Api, id: &str, ledgers: &Path) -> Result<Denial> {
    let ended = api.ended(id, DEADLINE).await?;
    let error = ended.error.context("a step that policies forbid fails")?;
    let history = api.history(id).await?;
    let is_denied = |judged: &StepJudged| (judged.verdict() == Verdict::Deny).then_some(());
    let asked = asked(&judged(&history, is_denied)?.0)?;
    let payment: Payment = serde_json::from_value(arguments(&history, &asked.function)?)?;
    let bank = bank(ledgers, &payment)?;
    let kind = error.r#type.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Denial { payment, asked, error: kind, status: error.status, bank })
}

async fn approval(clerk: &Api, manager: &Api, id: &str, ledgers: &Path) -> Result<Approval> {
    let item = eventually(DEADLINE, "a manager is asked", async || {
        let inbox = manager.approvals.clone().inbox(InboxRequest::default()).await?.into_inner();
        Ok(inbox.items.into_iter().find(|item| item.instance == id))
    });
    let item = item.await?;
    let own = clerk.approvals.clone().answer(approve(&item)).await;
    let Err(refused) = own else { bail!("who started the instance approved it") };
    manager.approvals.clone().answer(approve(&item)).await.context("the manager's answer")?;
    clerk.completed(id, DEADLINE).await?;

    let history = clerk.history(id).await?;
    let (judged, ()) = judged(&history, |judged| {
        remedies(judged).find_map(|remedy| matches!(remedy, Remedy::Approval(_)).then_some(()))
    })?;
    let answered = history.iter().filter_map(kind).find_map(|kind| {
        if let Kind::ApprovalAnswered(answered) = kind { Some(answered) } else { None }
    });
    let answered = answered.context("the approval is on record")?;
    let payment: Payment = serde_json::from_str(&item.arguments)?;
    Ok(Approval {
        bank: bank(ledgers, &payment)?,
        payment,
        asked: asked(&judged)?,
        started_by: item.started_by,
        refused: code(&refused).to_owned(),
        group: answered.group.clone(),
        approved_by: answered.by.clone(),
    })
}

fn approve(item: &ApprovalItem) -> AnswerApprovalRequest {
    AnswerApprovalRequest {
        instance: item.instance.clone(),
        step: item.step,
        group: item.group.clone(),
        digest: item.digest.clone(),
        approve: true,
        reason: "as agreed".to_owned(),
    }
}

async fn mask(api: &Api, id: &str, ledgers: &Path) -> Result<Mask> {
    let instance = api.get(id).await?;
    let (input, output): (Value, Value) =
        (serde_json::from_str(&instance.input)?, serde_json::from_str(&instance.output)?);
    let (judged, field) = judged(&api.history(id).await?, |judged| {
        remedies(judged).find_map(|remedy| {
            if let Remedy::Mask(field) = remedy { Some(field.clone()) } else { None }
        })
    })?;
    // The worker's own book, which the engine cannot have written.
    let book = ledger::entries(&ledgers.join("orders.jsonl"))?;
    let booked = book.into_iter().map(|entry| entry.key).find(|key| output["booked"] == **key);
    Ok(Mask {
        asked: asked(&judged)?,
        value: input[&field].as_str().context("the input has the field")?.to_owned(),
        field,
        booked: booked.context("the worker booked the payment")?,
    })
}

fn bank(ledgers: &Path, payment: &Payment) -> Result<Bank> {
    let entries = ledger::entries(&ledgers.join("payments.jsonl"))?;
    let about = entries.iter().filter(|entry| entry.key == payment.effect_key);
    let about = about.collect::<Vec<&Entry>>();
    let paid = about.iter().filter(|entry| !entry.refused).map(|entry| entry.amount_pennies);
    Ok(Bank { asked: about.len(), paid_pennies: paid.sum() })
}

/// The first answer of policies in which something is found, and what.
fn judged<T>(
    history: &[HistoryEvent],
    find: impl Fn(&StepJudged) -> Option<T>,
) -> Result<(StepJudged, T)> {
    let mut all = history.iter().filter_map(kind).filter_map(|kind| {
        let Kind::StepJudged(judged) = kind else { return None };
        Some((judged.clone(), find(judged)?))
    });
    all.next().context("policies were asked, and said so")
}

fn remedies(judged: &StepJudged) -> impl Iterator<Item = &Remedy> {
    judged.wanted.iter().filter_map(|wanted| wanted.remedy.as_ref()?.kind.as_ref())
}

fn asked(judged: &StepJudged) -> Result<Asked> {
    Ok(Asked {
        function: judged.function.clone(),
        policies: judged.determining.clone(),
        question: value(judged.question.as_ref())?,
    })
}

/// What the workers of a function would be given, before anything is masked.
fn arguments(history: &[HistoryEvent], function: &str) -> Result<Value> {
    let mut of_function = history.iter().filter(|event| event.function == function);
    let scheduled = of_function.find_map(|event| {
        if let Some(Kind::StepScheduled(scheduled)) = kind(event) { Some(scheduled) } else { None }
    });
    value(scheduled.and_then(|scheduled| scheduled.arguments.as_ref()))
}

fn kind(event: &HistoryEvent) -> Option<&Kind> {
    event.event.as_ref()?.kind.as_ref()
}

fn value(json: Option<&Json>) -> Result<Value> {
    match json.and_then(|json| json.value.as_ref()) {
        Some(json::Value::Text(text)) => Ok(serde_json::from_str(text)?),
        Some(json::Value::Large(_)) | None => bail!("the history holds no such value"),
    }
}
