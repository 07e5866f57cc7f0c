//! A file of purchases, as rows whose amounts are whole pennies.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use baton_tests::purchase::Requisition;

/// Reads a CSV file with a line of column names. Needed: `date`, `supplier`, and `amount` or `amount_gbp`; the other
/// columns of the demo's own file may be missing. A row without an id is known by its `row`, or by its place.
pub(crate) fn read(path: &Path) -> Result<Vec<Requisition>> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .from_path(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let headers =
        reader.headers().with_context(|| format!("{} has no first line", path.display()))?;
    let columns = Columns::new(headers)
        .with_context(|| format!("{} is no file of purchases", path.display()))?;
    let mut rows = Vec::new();
    for (place, record) in reader.records().enumerate() {
        let record = record.with_context(|| format!("{} cannot be read", path.display()))?;
        rows.push(columns.requisition(place + 1, &record));
    }
    if rows.is_empty() {
        bail!("{} has no rows", path.display());
    }
    Ok(rows)
}

/// Where each column is.
struct Columns {
    places: HashMap<String, usize>,
    amount: &'static str,
}

impl Columns {
    fn new(headers: &csv::StringRecord) -> Result<Self> {
        let names = headers.iter().map(|name| name.trim_start_matches('\u{feff}').to_lowercase());
        let places =
            names.enumerate().map(|(place, name)| (name, place)).collect::<HashMap<_, _>>();
        let amount = ["amount", "amount_gbp"].into_iter().find(|name| places.contains_key(*name));
        let amount = amount.context("there is no column `amount` or `amount_gbp`")?;
        for needed in ["date", "supplier"] {
            if !places.contains_key(needed) {
                bail!("there is no column `{needed}`");
            }
        }
        Ok(Self { places, amount })
    }

    fn requisition(&self, place: usize, record: &csv::StringRecord) -> Requisition {
        let field = |name: &str| {
            self.places.get(name).and_then(|place| record.get(*place)).unwrap_or_default()
        };
        let or = |name: &str, otherwise: &str| match field(name) {
            "" => otherwise.to_owned(),
            text => text.to_owned(),
        };
        let id = match (field("id"), field("row")) {
            ("", "") => format!("place-{place}"),
            ("", row) => format!("row-{row}"),
            (id, _) => id.to_owned(),
        };
        let amount_pennies = pennies(field(self.amount));
        let quantity = or("quantity", "1").parse().unwrap_or(0);
        Requisition {
            date: field("date").to_owned(),
            requester: field("requester").to_owned(),
            cost_centre: field("cost_centre").to_owned(),
            supplier: field("supplier").to_owned(),
            description: field("description").to_owned(),
            quantity,
            amount_pennies,
            currency: or("currency", "GBP"),
            received_quantity: match field("received_quantity") {
                "" => quantity,
                text => text.parse().unwrap_or(0),
            },
            invoice_number: or("invoice_number", &format!("INV-{id}")),
            invoice_amount_pennies: match field("invoice_amount") {
                "" => amount_pennies,
                text => pennies(text),
            },
            id,
        }
    }
}

/// `-1,234.5` is -123450; more than two decimals, or anything else that is no amount, is none.
pub(crate) fn pennies(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let digits = digits.strip_prefix('£').unwrap_or(digits).replace(',', "");
    let (whole, part) = digits.split_once('.').unwrap_or((&digits, ""));
    let all_digits = whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 2 || !all_digits {
        return None;
    }
    let pounds = whole.parse::<i64>().ok()?;
    let part = format!("{part:0<2}").parse::<i64>().ok()?;
    Some(sign * pounds.checked_mul(100)?.checked_add(part)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn amounts_are_read_to_the_penny_or_not_at_all() {
        let cases = [
            ("1234.56", Some(123_456)),
            ("-1,234.5", Some(-123_450)),
            ("£7", Some(700)),
            ("0.07", Some(7)),
            ("1.005", None),
            ("1.2.3", None),
            ("", None),
            ("tbc", None),
            (".5", None),
            ("99999999999999999999", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(pennies(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_file_of_four_columns_is_enough() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "row,date,amount_gbp,supplier\n7,2020-12-01,988.71,\"Amazon, UK\"\n").unwrap();
        let rows = read(file.path()).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].id.as_str(), rows[0].supplier.as_str()), ("row-7", "Amazon, UK"));
        assert_eq!(
            (rows[0].amount_pennies, rows[0].invoice_amount_pennies),
            (Some(98_871), Some(98_871))
        );
    }

    #[test]
    fn a_file_without_amounts_is_refused_by_the_name_of_the_column() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "row,date,supplier\n1,2020-12-01,x\n").unwrap();
        assert!(format!("{:#}", read(file.path()).unwrap_err()).contains("amount_gbp"));
    }
}
