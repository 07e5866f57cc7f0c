//! The words of the demo's purchases, shared by its three departments and its report.

use serde::{Deserialize, Serialize};

/// A type of error that only this workflow knows begins so.
pub const ERRORS: &str = "https://baton.example/errors/";

/// What a cost centre may spend in one purchase without being asked, in pennies.
pub const LIMITS: [(&str, i64); 4] =
    [("CC-100", 500_000), ("CC-200", 1_500_000), ("CC-300", 4_000_000), ("CC-400", 1_000_000)];

/// For cost centres without a limit of their own.
pub const LIMIT_OTHERWISE: i64 = 2_000_000;

/// Nothing is ordered from these.
pub const BLOCKED: [&str; 2] = ["Harrow & Pike Consulting", "Blackmere Shell Trading"];

/// An invoice may differ from its order by this many pennies, but by no more than one hundredth of the order.
pub const TOLERANCE: i64 = 500;

/// A row of the file: the workflow's input. An amount that could not be read is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requisition {
    pub id: String,
    pub date: String,
    pub requester: String,
    pub cost_centre: String,
    pub supplier: String,
    pub description: String,
    pub quantity: u32,
    pub amount_pennies: Option<i64>,
    pub currency: String,
    pub received_quantity: u32,
    pub invoice_number: String,
    pub invoice_amount_pennies: Option<i64>,
}
