//! The table of a student's budgets at the end of a distillation.

use training_wheels::BudgetReport;

/// What the columns mean, for `--help` and the table.
pub(crate) const TERMS: &str = "How the student uses budgets that are stated but not enforced, on the validation texts:
  used         tokens of the teacher, with calibrated thresholds and without
  chrF         character n-grams shared with the references, 0 to 100
  price        of help, nats
  forecast     of the help used in a text: mean error, tokens; Pearson's correlation r over texts
  asking rho   Spearman's rank correlation of the log-odds of asking and the divergence";

/// The title and the names of the columns.
pub(crate) fn header() -> String {
    format!("{TERMS}\nbudget    used  uncalibrated  chrF  price  forecast error  forecast r  asking rho")
}

/// The row of a budget.
pub(crate) fn row(report: &BudgetReport) -> String {
    let BudgetReport { budget, used, used_uncalibrated, chrf, .. } = report;
    let price = report.price.unwrap_or(f64::NAN);
    format!(
        "{budget:>5}%  {used:>5.1}%  {used_uncalibrated:>11.1}%  {chrf:>4.1}  {price:>5.2}  {:>14.2}  {:>10.2}  {:>10.2}",
        report.forecast_error, report.forecast_correlation, report.ask_correlation
    )
}
