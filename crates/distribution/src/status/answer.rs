//! The answer to a question, made of the rows of all WECs.
//!
//! ```text
//!  SELECT select                            FROM rows WHERE filter ORDER BY WEC LIMIT limit
//!  SELECT groupBy, combinedFields           FROM rows WHERE filter GROUP BY groupBy
//!                                           ORDER BY groupBy LIMIT limit
//! ```

use super::collector::Collector;
use super::collector::Column;
use super::collector::Combination;
use super::collector::Field;
use super::collector::Function;
use super::collector::Question;
use super::row::Cell;
use super::row::Row;
use hyades_api::control::AggregationError;
use hyades_api::control::CollectedResult;
use hyades_api::control::Row as WrittenRow;
use hyades_api::control::RowError;
use hyades_api::control::WecReference;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rows of all WECs to which an object goes.
pub type Rows = BTreeMap<Arc<str>, Arc<Row>>;

/// A row without errors, and the WEC that it is of.
type Whole<'a> = (&'a str, Vec<&'a Cell>);

/// Puts rows together. Of each column the first error is told, with the first WEC by name that has
/// it; in the select form, where WECs with errors stay, the error also stands in the cell.
pub fn answer(name: &str, collector: &Collector, rows: &Rows) -> CollectedResult {
    let mut errors = Vec::new();
    let mut lines = match &collector.question {
        Question::Select(_) => selected(rows),
        Question::Combine { group_by, fields } => {
            combined(group_by, fields, whole(rows), &mut errors)
        }
    };
    lines.truncate(collector.limit);
    let written = |line: Vec<Cell>| WrittenRow {
        columns: line.into_iter().map(Cell::into_value).collect(),
    };
    CollectedResult {
        name: name.to_owned(),
        column_names: collector.column_names(),
        rows: lines.into_iter().map(written).collect(),
        row_errors: row_errors(collector, rows),
        aggregation_errors: errors,
    }
}

fn selected(rows: &Rows) -> Vec<Vec<Cell>> {
    let values = rows.values().filter_map(|row| match &**row {
        Row::In(cells) if !cells.is_empty() => Some(cells),
        _ => None,
    });
    let shown = |cell: &Result<Cell, String>| match cell {
        Ok(cell) => cell.clone(),
        Err(error) => Cell::text(error),
    };
    values
        .map(|cells| cells.iter().map(shown).collect())
        .collect()
}

/// The rows without any error, which alone count in the combined form.
fn whole(rows: &Rows) -> Vec<Whole<'_>> {
    let whole = rows.iter().filter_map(|(wec, row)| match &**row {
        Row::In(cells) => {
            let cells: Option<_> = cells.iter().map(|cell| cell.as_ref().ok()).collect();
            Some((&**wec, cells?))
        }
        Row::Out | Row::Failed(_) => None,
    });
    whole.collect()
}

/// Rows that agree in the columns by which is grouped, and the values of those.
type Group<'a> = (Vec<&'a Cell>, Vec<Whole<'a>>);

fn groups<'a>(mut rows: Vec<Whole<'a>>, columns: usize) -> Vec<Group<'a>> {
    if columns == 0 {
        // There is one group, even of no rows.
        return vec![(Vec::new(), rows)];
    }
    rows.sort_by(|(_, left), (_, right)| order(&left[..columns], &right[..columns]));
    let mut groups: Vec<Group<'a>> = Vec::new();
    for row in rows {
        let key = &row.1[..columns];
        match groups.last_mut() {
            Some((last, members)) if order(last, key).is_eq() => members.push(row),
            _ => groups.push((key.to_vec(), vec![row])),
        }
    }
    groups
}

fn combined(
    group_by: &[Column],
    fields: &[Field],
    rows: Vec<Whole<'_>>,
    errors: &mut Vec<AggregationError>,
) -> Vec<Vec<Cell>> {
    let mut lines = Vec::new();
    for (key, members) in groups(rows, group_by.len()) {
        let mut line: Vec<Cell> = key.into_iter().cloned().collect();
        let mut subject = group_by.len();
        for field in fields {
            let (cell, error) = match field.combination {
                Combination::Count => (Cell::integer(members.len() as i128), None),
                Combination::Of(function, _) => {
                    subject += 1;
                    compute(function, subject - 1, &members)
                }
            };
            line.push(cell);
            let is_first = !errors.iter().any(|known| known.column_name == field.name);
            if let Some(error) = error.filter(|_| is_first) {
                errors.push(AggregationError {
                    column_name: field.name.clone(),
                    error,
                });
            }
        }
        lines.push(line);
    }
    lines
}

fn order(left: &[&Cell], right: &[&Cell]) -> Ordering {
    let columns = left.iter().zip(right);
    columns.fold(Ordering::Equal, |so_far, (left, right)| {
        so_far.then_with(|| left.order(right))
    })
}

/// The value of a group, and why it is not what was asked for. Rows whose subject is no number add
/// nothing to a sum, and count among those by whose number a mean is divided.
fn compute(function: Function, subject: usize, members: &[Whole<'_>]) -> (Cell, Option<String>) {
    let mut error = None;
    let mut numbers = Vec::with_capacity(members.len());
    for (wec, cells) in members {
        match cells[subject].as_number() {
            Ok(number) => numbers.push(number),
            Err(reason) => {
                error.get_or_insert_with(|| format!("for WEC {wec}, {reason}"));
            }
        }
    }
    let sum = || numbers.iter().fold(0.0, |sum, number| sum + number);
    let value = match function {
        Function::Sum => sum(),
        Function::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
        Function::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Function::Average if members.is_empty() => {
            error = Some("no values to average".to_owned());
            f64::NAN
        }
        Function::Average => sum() / members.len() as f64,
    };
    (Cell::number(value), error)
}

fn row_errors(collector: &Collector, rows: &Rows) -> Vec<RowError> {
    let error = |wec: &Arc<str>, column: &str, error: &str| RowError {
        wec: WecReference {
            cluster_id: wec.to_string(),
        },
        column_name: column.to_owned(),
        error: error.to_owned(),
    };
    let of_filter = rows.iter().find_map(|(wec, row)| match &**row {
        Row::Failed(reason) => Some(error(wec, "", reason)),
        _ => None,
    });
    let columns = collector.expressions().enumerate();
    let of_columns = columns.filter_map(|(place, (name, _))| {
        rows.iter().find_map(|(wec, row)| match &**row {
            Row::In(cells) => {
                let reason = cells.get(place)?.as_ref().err()?;
                Some(error(wec, name, reason))
            }
            _ => None,
        })
    });
    of_filter.into_iter().chain(of_columns).collect()
}

/// Leaves out rows, the last ones first, until the answers together are no larger than `bytes_max`,
/// and says so in each answer that has lost any.
pub fn shorten(answers: &mut [CollectedResult], bytes_max: usize) {
    // Values are JSON already, so writing them cannot fail.
    let bytes = |row: &WrittenRow| serde_json::to_vec(row).map_or(0, |bytes| bytes.len() + 1);
    let mut left = bytes_max;
    for answer in answers {
        let mut kept = 0;
        for row in &answer.rows {
            match left.checked_sub(bytes(row)) {
                Some(rest) => left = rest,
                None => break,
            }
            kept += 1;
        }
        let lost = answer.rows.len() - kept;
        if lost > 0 {
            answer.rows.truncate(kept);
            answer.aggregation_errors.push(AggregationError {
                column_name: String::new(),
                error: format!(
                    "{lost} rows are left out: the answers would exceed {bytes_max} bytes; select \
                     less, or set a lower limit"
                ),
            });
        }
    }
}

#[cfg(test)]
mod tests;
