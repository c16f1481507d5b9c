//! One line per step done, with the time it took, and the [`board`] of those under way. Lines of
//! steps done are plain text: they read the same in a terminal, a pipe and a log.

pub mod board;

use crate::console::print;
use board::Step;
use std::time::Duration;
use std::time::Instant;

/// Reports steps to standard output.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    started: Instant,
}

impl Progress {
    /// Starts counting.
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// Runs a step and reports `done` with the time it took. While it lasts it is on the board as
    /// `doing`.
    ///
    /// # Errors
    ///
    /// Those of the step, with `doing` in front.
    pub async fn step<T>(
        self,
        doing: &str,
        step: impl Future<Output = anyhow::Result<T>>,
        done: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        let result = Step::begin(doing).during(step).await;
        let value = result.map_err(|error| error.context(doing.to_owned()))?;
        print(&line(started.elapsed(), &done(&value)));
        Ok(value)
    }

    /// Reports the time since the start.
    pub fn total(self, text: &str) {
        print(&line(self.started.elapsed(), text));
    }
}

fn line(elapsed: Duration, text: &str) -> String {
    format!("{:>7.3} s  {text}\n", elapsed.as_secs_f64())
}

/// Columns wide enough for their longest cell, two spaces apart, as kubectl prints tables.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_align_their_times() {
        assert_eq!(line(Duration::from_millis(42), "a"), "  0.042 s  a\n");
        assert_eq!(line(Duration::from_millis(123_456), "b"), "123.456 s  b\n");
    }

    #[test]
    fn tables_align_their_columns() {
        let rows = [["A", "B", "C"], ["long", "", "x"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "A     B  C\nlong     x\n");
    }

    #[tokio::test]
    async fn a_failed_step_says_what_it_was() {
        let step = async { anyhow::bail!("no door") };
        let error = Progress::start()
            .step("opening the door", step, |(): &()| String::new())
            .await
            .expect_err("failed");
        assert_eq!(format!("{error:#}"), "opening the door: no door");
    }
}
