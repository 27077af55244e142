//! `wheels plan`: the memory of a run, before it starts.

use clap::Subcommand;
use serde::Serialize;
use training_wheels::distill::MemoryPlan;

use super::{Outcome, distill, train};
use crate::command_line::App;

const EXAMPLES: &str = "\
Examples:
  wheels plan distill --teacher T --student S --data train.jsonl --valid valid.jsonl
  wheels plan distill --config distilled/run.toml --gradient-checkpointing";

/// Prints the memory that a run would need.
///
/// It is computed by formulas. The peak is the largest sum of parts that exist at once. The program and the data are not counted. The flags are those of
/// the run.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    #[command(subcommand)]
    of: PlanOf,
}

#[derive(Subcommand)]
enum PlanOf {
    Train(train::Flags),
    Distill(distill::Flags),
}

/// A plan with its peak, which is a sum.
#[derive(Serialize)]
struct PlanLine<'a> {
    #[serde(flatten)]
    plan: &'a MemoryPlan,
    peak: usize,
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let plan = match &flags.of {
        PlanOf::Train(flags) => train::plan(flags)?,
        PlanOf::Distill(flags) => distill::plan(flags, app)?,
    };
    app.output.line(plan)?;
    app.output.json(&PlanLine { plan: &plan, peak: plan.peak() })?;
    Ok(())
}
