//! Sets of Cedar policies: checked as a whole when they arrive, asked one question at a time, and never in doubt: whatever
//! errs denies.
//!
//! ```
//! use baton_policy::{Question, Set, Verdict, set::Texts};
//!
//! let texts = Texts::from([("rules.cedar".into(), r#"
//!     @id("agents-may-pay")
//!     permit (principal is Baton::Agent, action == Baton::Action::"dispatch", resource);
//!     @id("much-money-needs-a-manager") @remedy("approval:managers") @fallback("escalate:board")
//!     forbid (principal, action == Baton::Action::"dispatch", resource)
//!     when { context.amount > 10000 } unless { context.approvals.contains("managers") };
//! "#.into())]);
//! let set = Set::compile(&texts).unwrap();
//! let mut question: Question = serde_json::from_str(r#"{
//!     "principal": {"agent": "clerk", "kind": "write"}, "action": "dispatch",
//!     "resource": {"function": "finance.pay", "effect": "irreversible"},
//!     "facts": {"amount": 20000, "approvals": []}
//! }"#).unwrap();
//! let Verdict::DenyUnless(remedies) = set.decide(&question).verdict else { panic!() };
//! assert_eq!(remedies[0].remedy.to_string(), "approval:managers");
//! question.facts.insert("approvals".into(), serde_json::json!(["managers"]));
//! assert_eq!(set.decide(&question).verdict, Verdict::Allow);
//! ```

pub mod backtest;
pub mod cases;
mod check;
pub mod finding;
pub mod folder;
mod limits;
pub mod question;
pub mod remedy;
pub mod set;
mod shard;

pub use finding::{Finding, Severity};
pub use question::Question;
pub use remedy::{Remedy, Wanted};
pub use set::{Decision, Set, Verdict};

/// What policies are held against.
pub const SCHEMA: &str = include_str!("../../../policies/baton.cedarschema");
