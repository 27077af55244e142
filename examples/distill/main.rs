//! Trains a student to write like its teacher and to ask it for help within a budget.
//!
//!     cargo run --release --example distill -- --teacher DIR --student DIR --data train.jsonl --valid valid.jsonl --out model
//!
//! Without folders and files it practises on the embedded models and sample, a smoke test of a minute. Killed at any
//! moment, it goes on with `--resume` where its last checkpoint was, bit for bit. `curves.svg` in the folder shows
//! losses, prices, and help used against budgets.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod plot;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/training.rs"]
mod training;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use burn::module::Module;
use clap::{Parser, ValueEnum};
use training_wheels::decode::Enforcement;
use training_wheels::distill::objective::{
    AllActionConsistency, ConstrainedPath, ForwardKl, GeneralizedJsd, PathConsistency,
};
use training_wheels::distill::{
    Checkpoints, ConstraintConfig, CrossEntropy, Decay, Mixture, Objective, Practice, PracticeConfig, Student, Trainer,
    TrainerConfig, Workers,
};
use training_wheels::embedded;
use training_wheels::eval::Evaluation;
use training_wheels::prelude::*;
use training_wheels::text::{BudgetPlace, Dataset};

use training::Common;

/// Distils a teacher into a student that asks for help.
#[derive(Parser)]
struct Flags {
    /// The teacher's folder; the embedded one where this is absent.
    #[arg(long)]
    teacher: Option<PathBuf>,
    /// The folder of the student to start from; the embedded one where this is absent.
    #[arg(long)]
    student: Option<PathBuf>,
    /// JSON lines to train on; the embedded sample where this is absent.
    #[arg(long, requires = "valid")]
    data: Option<PathBuf>,
    /// JSON lines to validate on.
    #[arg(long)]
    valid: Option<PathBuf>,
    /// The folder of the run and of the model.
    #[arg(long, default_value = "distilled")]
    out: PathBuf,
    /// Go on from the last checkpoint in `--out`.
    #[arg(long)]
    resume: bool,
    /// What is minimised.
    #[arg(long, value_enum, default_value = "constrained")]
    objective: Method,
    /// Budgets that have a price of their own, in percent, from 0 to 100.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 2, 5, 10, 15, 20, 30, 40, 50, 70, 100])]
    budgets: Vec<u8>,
    /// The teacher's weight in the mixture of `gkd`.
    #[arg(long, default_value_t = 0.5)]
    beta: f64,
    /// The share of texts that the student writes itself, for `gkd`, `path`, `all-action` and `constrained`.
    #[arg(long, default_value_t = 0.5)]
    on_policy: f64,
    /// The weight of the wish for help in `all-action` and `constrained`.
    #[arg(long, default_value_t = 0.05)]
    help_weight: f64,
    /// Steps before prices begin to move.
    #[arg(long, default_value_t = 80)]
    frozen_steps: usize,
    /// Optimizer steps.
    #[arg(long, default_value_t = 40)]
    steps: usize,
    /// Source and target tokens in a micro-batch, padding counted, budgets not.
    #[arg(long, default_value_t = 2048)]
    batch_tokens: usize,
    /// Largest learning rate.
    #[arg(long, default_value_t = 2e-3)]
    learning_rate: f64,
    /// Steps of warm-up.
    #[arg(long, default_value_t = 100)]
    warmup: usize,
    /// Validation sentences that are translated.
    #[arg(long, default_value_t = 100)]
    valid_texts: usize,
    /// Steps between validations.
    #[arg(long, default_value_t = 250)]
    validate_every: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Method {
    /// Cross-entropy on references.
    Supervised,
    /// Word-level distillation: forward KL on references.
    ForwardKl,
    /// Sequence-level distillation: cross-entropy on the teacher's texts.
    Sequence,
    /// Generalized distillation: a Jensen-Shannon divergence, partly on-policy.
    Gkd,
    /// Path consistency on sampled words and help.
    Path,
    /// Path consistency of one step over all words, and help.
    AllAction,
    /// The whole recipe: words, help, paths, forward KL and a forecast of help.
    Constrained,
}

impl Method {
    fn asks(self) -> bool {
        matches!(self, Self::Path | Self::AllAction | Self::Constrained)
    }

    fn objective(self, flags: &Flags) -> Box<dyn Objective> {
        match self {
            Self::Supervised | Self::Sequence => Box::new(CrossEntropy::new()),
            Self::ForwardKl => Box::new(ForwardKl),
            Self::Gkd => Box::new(GeneralizedJsd { beta: flags.beta }),
            Self::Path => Box::new(PathConsistency::new()),
            Self::AllAction => Box::new(AllActionConsistency::new().with_help(flags.help_weight)),
            Self::Constrained => Box::new(ConstrainedPath::new().with_help(flags.help_weight)),
        }
    }

    fn mixture(self, flags: &Flags) -> Mixture {
        let (demonstration, teacher, student) = match self {
            Self::Supervised | Self::ForwardKl => (1.0, 0.0, 0.0),
            Self::Sequence => (0.0, 1.0, 0.0),
            _ => (1.0 - flags.on_policy, 0.0, flags.on_policy),
        };
        Mixture::new().with_demonstration(demonstration).with_teacher(teacher).with_student(student)
    }
}

fn main() -> ExitCode {
    program::main(|| run(&Flags::parse()))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let levels: Vec<f64> = flags.budgets.iter().map(|&percent| f64::from(percent) / 100.0).collect();
    if levels.first() != Some(&0.0) || levels.last() != Some(&1.0) || !levels.is_sorted() {
        return Err("--budgets must rise from 0 to 100, such as 0,10,20,50,100".into());
    }
    let accelerator = device::open(&flags.common.device)?;
    let open = |folder: &Option<PathBuf>, embedded, device: &_| match folder {
        Some(folder) => Bundle::from_dir(folder, device),
        None => Bundle::from_files(embedded, device),
    };
    let tracked = accelerator.device.clone().autodiff();
    let teacher = open(&flags.teacher, &embedded::TEACHER, &accelerator.device)?;
    let student = open(&flags.student, &embedded::STUDENT, &tracked)?;
    student.check_teacher(&teacher)?;
    let Bundle { model, tokenizer, .. } = student;
    let format = PromptFormat { budget: BudgetPlace::Before, ..student.format };
    let help = tokenizer.help_token("teacher")?;

    let sample = || Dataset::from_jsonl_reader(embedded::SAMPLE.as_bytes(), "the embedded sample");
    let read = |path: &Option<PathBuf>| path.as_ref().map_or_else(sample, Dataset::from_jsonl);
    let (data, valid) = (read(&flags.data)?, read(&flags.valid)?.take(flags.valid_texts));
    let (examples, pairs) = flags.common.pairs(&tokenizer, &data)?;
    let make_prompt = |index: usize, budget: HelpBudget, wording: usize| {
        PromptFormat { wording, ..format.clone() }.prompt(&tokenizer, &examples[index].source, budget)
    };
    let practice = PracticeConfig::new(flags.steps)
        .with_batch_tokens(flags.batch_tokens)
        .with_mixture(flags.objective.mixture(flags))
        .with_constraint(ConstraintConfig::new().with_levels(levels).with_frozen_steps(flags.frozen_steps))
        .with_seed(flags.common.seed);
    let specials = tokenizer.special_ids().into_iter().filter(|&id| id != tokenizer.eos()).collect();
    let mut practice = Practice::new(practice, &pairs, &make_prompt, &teacher.model, help, specials)?;

    let workers = flags.common.workers(&accelerator)?;
    let config = TrainerConfig::new(flags.steps)
        .with_workers(workers)
        .with_learning_rate(flags.learning_rate)
        .with_warmup_steps(flags.warmup)
        .with_decay(Decay::Linear)
        .with_checkpoint_every(flags.common.checkpoint_every)
        .with_validate_every(flags.validate_every)
        .with_patience(flags.common.patience);
    eprintln!("{} pairs, {} workers, {}", pairs.len(), workers, accelerator.adapter);

    let width = model.width();
    let resumes = flags.resume && !Checkpoints::new(&flags.out)?.steps()?.is_empty();
    let model = if flags.objective.asks() && !resumes {
        // Where the student asks already, this is near its row; else it is a better start than a row that never asks.
        let row = practice.help_row(&Student::new(model.valid(), width), workers, &Workers::new(workers)?)?;
        model.with_output_row(help, &row)
    } else {
        model
    };
    let objective = flags.objective.objective(flags);
    let mut trainer =
        Trainer::new(config, objective.as_ref(), Student::new(model, width), practice, &flags.out, flags.resume)?;
    tokenizer.save(&flags.out)?;
    format.save(&flags.out)?;
    let evaluation = Evaluation::new(&valid, &tokenizer, &format);
    let judge = Judge { evaluation: &evaluation, teacher: &teacher.model, help };
    let budget = HelpBudget::percent(if flags.objective.asks() { 20 } else { 0 });
    let bar = training::bar(flags.steps, trainer.step())?;
    // With the ledger on, a student that asks for too much gains nothing by it.
    let mut validate = |student: &_| Ok(judge.score(student, budget, Enforcement::On)?.0);
    let outcome = trainer.train(&mut validate, &mut |report| {
        bar.set_position(report.step as u64);
        let rate = report.tokens as f64 / report.seconds;
        bar.set_message(format!("loss {:.3} nll {:.3} {rate:.0} tokens/s", report.loss, report.nll));
        if let Some(score) = report.validation {
            bar.suspend(|| eprintln!("step {}: loss {:.3}, chrF {score:.2} at {budget}", report.step, report.loss));
        }
    })?;
    bar.finish();
    let student = trainer.best()?;
    student.model.save(&flags.out, flags.common.format())?;
    eprintln!("{outcome:?}; the model is in {}", flags.out.display());
    if flags.objective.asks() {
        if let Some(prices) = trainer.lessons().prices() {
            Bundle::save_prices(prices, &flags.out)?;
        }
        plot::draw(&flags.out.join("metrics.jsonl"), &flags.out.join("curves.svg"), &flags.budgets)?;
        println!("budget   asks  chrF  V_C error  r(V_C, help)");
        for percent in [0, 10, 20, 30, 50] {
            let (chrf, rate, forecast) = judge.score(&student, HelpBudget::percent(percent), Enforcement::Off)?;
            println!("{percent:>5}% {:>5.1}% {chrf:>5.1} {:>10.2} {:>13.2}", 100.0 * rate, forecast.0, forecast.1);
        }
    }
    Ok(())
}

/// Decodes the validation texts.
struct Judge<'a> {
    evaluation: &'a Evaluation<'a>,
    teacher: &'a Pretrained,
    help: u32,
}

impl Judge<'_> {
    /// The chrF and the help rate at a budget; and, of the forecasts of help, the mean absolute error in tokens and the
    /// correlation with what was used.
    fn score(
        &self,
        student: &Student<Pretrained>,
        budget: HelpBudget,
        enforcement: Enforcement,
    ) -> Result<(f64, f64, (f64, f64)), training_wheels::Error> {
        let prompts = self.evaluation.prompts(budget)?;
        let desk = HelpDesk::new().with(self.help, Teacher::new(self.teacher));
        let policy = Policy::greedy(&student.model);
        let decoder = BudgetedDecoder::new(policy, desk).enforcement(enforcement).max_tokens(160);
        let decoded = decoder.decode(&prompts, Seed(0))?;
        let used: Vec<f64> = decoded.trajectories.iter().map(|text| text.helped() as f64).collect();
        let forecast = student.forecast(&prompts);
        let error = used.iter().zip(&forecast).map(|(used, said)| (used - said).abs()).sum::<f64>();
        let outcome = self.evaluation.outcome(decoded)?;
        let forecast = (error / used.len() as f64, correlation(&used, &forecast));
        Ok((outcome.chrf(self.evaluation.references()), outcome.stats.help_rate(), forecast))
    }
}

/// Pearson's r; 0 where one side does not vary.
fn correlation(left: &[f64], right: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (a, b) = (mean(left), mean(right));
    let sum = |of: &dyn Fn(f64, f64) -> f64| left.iter().zip(right).map(|(x, y)| of(x - a, y - b)).sum::<f64>();
    let scale = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    if scale > 0.0 { sum(&|x, y| x * y) / scale } else { 0.0 }
}
