//! The table of a student's budgets at the end of a distillation.

use training_wheels::BudgetReport;

/// What the columns mean, for `--help` and the table.
pub(crate) const TERMS: &str = "How the student uses budgets that are stated but not enforced, on the validation texts:
  used         tokens of the teacher, with calibrated thresholds and without
  chrF         character n-grams shared with the references, 0 to 100
  price        of help, nats
  forecast     of the help used in a text: mean error, tokens, and Pearson's correlation r over texts
  asking rho   Spearman's rank correlation of the log-odds of asking and the divergence from the teacher";

/// Prints the title and the names of the columns.
pub(crate) fn print_header() {
    println!("{TERMS}");
    println!("budget    used  uncalibrated  chrF  price  forecast error  forecast r  asking rho");
}

/// Prints the row of a budget.
pub(crate) fn print_row(row: &BudgetReport) {
    let BudgetReport { budget, used, used_uncalibrated, chrf, .. } = row;
    print!(
        "{budget:>5}%  {used:>5.1}%  {used_uncalibrated:>11.1}%  {chrf:>4.1}  {:>5.2}  ",
        row.price.unwrap_or(f64::NAN)
    );
    println!("{:>14.2}  {:>10.2}  {:>10.2}", row.forecast_error, row.forecast_correlation, row.ask_correlation);
}
