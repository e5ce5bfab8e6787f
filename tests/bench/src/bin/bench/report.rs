//! The table at the end.

use std::time::Duration;

/// Lines of a figure, its value, and whether it is within its budget.
#[derive(Default)]
pub struct Report {
    lines: Vec<(String, String, bool)>,
}

impl Report {
    /// A figure by itself.
    pub fn limit(&mut self, figure: &str, value: &str, within: bool) {
        self.lines.push((figure.to_owned(), value.to_owned(), within));
    }

    /// A time beside that of the bare loop, which it may exceed by `factor`.
    pub fn ratio(&mut self, figure: &str, ours: Duration, bare: Duration, factor: f64) {
        let (ours, bare) = (ours.as_secs_f64(), bare.as_secs_f64());
        let ratio = ours / bare;
        let value = format!("{ours:.1} s against {bare:.1} s: {ratio:.2} ×");
        self.lines.push((figure.to_owned(), value, ratio <= factor));
    }

    /// Prints all lines; whether all are within their budgets.
    pub fn print(&self) -> bool {
        let width = self.lines.iter().map(|(figure, ..)| figure.chars().count()).max().unwrap_or(0);
        for (figure, value, within) in &self.lines {
            let mark = if *within { "" } else { "  OVER BUDGET" };
            println!("{figure:width$}  {value}{mark}");
        }
        self.lines.iter().all(|(.., within)| *within)
    }
}

/// Bytes as MiB.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
