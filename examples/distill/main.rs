//! Trains a student to write like its teacher and to ask it for help within a budget.
//!
//!     cargo run --release --example distill -- --teacher DIR --student DIR --data train.jsonl --valid valid.jsonl --out model
//!
//! Without folders and files it practises on the embedded models and sample, a smoke test of a minute. Killed at any
//! moment, it goes on with `--resume` where its last checkpoint was, bit for bit. `curves.svg` in the folder shows
//! losses, prices, and help used against budgets.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../support/font.rs"]
mod font;
mod plot;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/training.rs"]
mod training;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use training_wheels::decode::{Decoded, Enforcement};
use training_wheels::distill::objective::{
    AllActionConsistency, ConstrainedPath, ForwardKl, GeneralizedJsd, HelpWorth, PathConsistency,
};
use training_wheels::distill::{
    ConstraintConfig, CrossEntropy, Decay, Mixture, Objective, Practice, PracticeConfig, Trainer, TrainerConfig,
};
use training_wheels::embedded;
use training_wheels::eval::{Evaluation, pearson, spearman};
use training_wheels::lm::{LanguageModel, Student, TokenBatch};
use training_wheels::prelude::*;
use training_wheels::text::{BudgetPlace, Dataset, Example};

use training::{Common, Screen};

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
    #[arg(long, default_value_t = 0.5)]
    help_weight: f64,
    /// The weight of consistency along paths of several steps in `constrained`.
    #[arg(long, default_value_t = 0.1)]
    path_weight: f64,
    /// What a target network for values keeps of itself at each step, such as 0.99; absent, there is none.
    #[arg(long)]
    target_decay: Option<f64>,
    /// What help is worth in `all-action` and `constrained`.
    #[arg(long, value_enum, default_value = "distance")]
    help_worth: Worth,
    /// Train only the heads by which the student asks: its words stay as they are.
    #[arg(long)]
    heads_only: bool,
    /// Steps before prices begin to move.
    #[arg(long, default_value_t = 80)]
    frozen_steps: usize,
    /// The first step of the prices' dual ascent, nats at a rate of help that is off by 1.
    #[arg(long, default_value_t = 0.6)]
    price_rate: f64,
    /// Texts on which prices settle before the first step; 0 goes on with those that the student has.
    #[arg(long, default_value_t = 0)]
    settle_on: usize,
    /// Optimizer steps.
    #[arg(long, default_value_t = 40)]
    steps: usize,
    /// Source and target tokens in a micro-batch, padding counted, budgets not.
    #[arg(long, default_value_t = 2048)]
    batch_tokens: usize,
    /// Largest learning rate.
    #[arg(long, default_value_t = 1e-3)]
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

#[derive(Clone, Copy, ValueEnum)]
enum Worth {
    /// The divergence of the student's law from the teacher's.
    Distance,
    /// What the student's likeliest word is worth less to the teacher than its own.
    Regret,
    /// 2 nats where the likeliest words differ.
    Disagreement,
    /// The divergence here and at the next three tokens, the nearer the more.
    Ahead,
}

impl From<Worth> for HelpWorth {
    fn from(worth: Worth) -> Self {
        match worth {
            Worth::Distance => Self::Distance,
            Worth::Regret => Self::Regret,
            Worth::Disagreement => Self::Disagreement,
            Worth::Ahead => Self::Ahead,
        }
    }
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
            Self::AllAction => {
                Box::new(AllActionConsistency::new().with_help(flags.help_weight).with_worth(flags.help_worth.into()))
            }
            Self::Constrained => Box::new(
                ConstrainedPath::new()
                    .with_help(flags.help_weight)
                    .with_path(flags.path_weight)
                    .with_worth(flags.help_worth.into()),
            ),
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
    if flags.heads_only && !flags.objective.asks() {
        return Err("--heads-only trains how a student asks: choose --objective path, all-action or constrained".into());
    }
    if levels.first() != Some(&0.0) || levels.last() != Some(&1.0) || !levels.is_sorted() {
        return Err("--budgets must rise from 0 to 100, such as 0,10,20,50,100".into());
    }
    let accelerator = device::open(&flags.common.device)?;
    let open = |folder: &Option<PathBuf>, embedded, device: &_| match folder {
        Some(folder) => Bundle::from_dir(folder, device),
        None => Bundle::from_files(embedded, device),
    };
    let tracked = accelerator.device.clone().autodiff();
    let Models { student, teacher, help } = Models::new(
        open(&flags.student, &embedded::TRANSLATION.student, &tracked)?,
        open(&flags.teacher, &embedded::TRANSLATION.teacher, &accelerator.device)?,
    )?;
    let Bundle { model, tokenizer, prices, .. } = student;
    let format = PromptFormat { budget: BudgetPlace::Before, ..student.format };

    let read = |path: &Option<PathBuf>| match path {
        Some(path) => Dataset::from_jsonl(path),
        None => Ok(embedded::TRANSLATION.sample()),
    };
    let (data, valid) = (read(&flags.data)?, read(&flags.valid)?.take(flags.valid_texts));
    let (examples, pairs) = flags.common.pairs(&tokenizer, &data)?;
    let (valid_examples, valid_pairs) = flags.common.pairs(&tokenizer, &valid)?;
    let prompt = |example: &Example, budget: HelpBudget, wording: usize| {
        PromptFormat { wording, ..format.clone() }.prompt(&tokenizer, &example.source, budget)
    };
    let make_prompt = |index: usize, budget, wording| prompt(examples[index], budget, wording);
    let make_valid_prompt = |index: usize, budget, wording| prompt(valid_examples[index], budget, wording);
    let constraint = ConstraintConfig::new()
        .with_levels(levels)
        .with_rate(flags.price_rate)
        .with_frozen_steps(flags.frozen_steps)
        .with_settled_on(flags.settle_on);
    let practice = PracticeConfig::new(flags.steps)
        .with_batch_tokens(flags.batch_tokens)
        .with_mixture(flags.objective.mixture(flags))
        .with_no_repeat_ngram_size(format.no_repeat_ngram_size)
        .with_constraint(constraint)
        .with_seed(flags.common.seed);
    let practice = match flags.objective {
        Method::Constrained => practice,
        _ => practice.with_rehearsal(0),
    };
    let specials = tokenizer.unwritten_ids();
    let exam =
        Practice::new(practice.clone(), &valid_pairs, &make_valid_prompt, &teacher.model, help, specials.clone())?;
    let mut practice = Practice::new(practice, &pairs, &make_prompt, &teacher.model, help, specials)?;
    if let Some(prices) = &prices {
        practice = practice.with_prices(prices);
    }

    let workers = flags.common.workers(&accelerator)?;
    let config = TrainerConfig::new(flags.steps)
        .with_workers(workers)
        .with_learning_rate(flags.learning_rate)
        .with_target_decay(flags.target_decay)
        .with_warmup_steps(flags.warmup)
        .with_decay(Decay::Linear)
        .with_checkpoint_every(flags.common.checkpoint_every)
        .with_validate_every(flags.validate_every)
        .with_patience(flags.common.patience);
    eprintln!("{} pairs, {} workers, {}", pairs.len(), workers, accelerator.adapter);

    let width = model.model.width();
    let model = if flags.objective.asks() && !model.has_heads() { model.with_heads(width, help) } else { model };
    let model = if flags.heads_only { model.with_fixed_model() } else { model };
    let objective = flags.objective.objective(flags);
    let mut trainer = Trainer::new(config, objective.as_ref(), model, practice, &flags.out, flags.resume)?;
    tokenizer.save(&flags.out)?;
    format.save(&flags.out)?;
    let evaluation = Evaluation::new(&valid, &tokenizer, &format);
    let judge = Judge { evaluation: &evaluation, teacher: &teacher.model, help, format: &format };
    let budget = HelpBudget::percent(if flags.objective.asks() { 20 } else { 0 });
    let mut screen = Screen::new(&flags.common, flags.steps, trainer.step(), &format!("chrF at {budget}"))?;
    // With the ledger on, a student that asks for too much gains nothing by it.
    let mut validate = |student: &_| {
        let outcome = evaluation.outcome(judge.decode(student, budget, Enforcement::On)?)?;
        Ok(evaluation.judge(&outcome).scores().chrf)
    };
    let outcome = trainer.train(&mut validate, &mut |report| screen.show(report))?;
    screen.finish();
    let student = trainer.best()?;
    student.save(&flags.out, flags.common.format())?;
    eprintln!("{outcome:?}; the model is in {}", flags.out.display());
    if flags.objective.asks() {
        let prices = trainer.lessons().prices();
        if let Some(prices) = prices {
            Bundle::save_prices(prices, &flags.out)?;
        }
        plot::draw(&flags.out.join("metrics.jsonl"), &flags.out.join("curves.svg"), &flags.budgets)?;
        println!("budget  price   asks  chrF  V_C error  r(V_C, help)  rho(z, D)");
        let texts: Vec<u32> = (0..valid_pairs.len() as u32).collect();
        for percent in [0, 10, 20, 30, 50] {
            let budget = HelpBudget::percent(percent);
            let decoded = judge.decode(&student, budget, Enforcement::Off)?;
            let used: Vec<f64> = decoded.trajectories.iter().map(|text| text.helped() as f64).collect();
            let forecast = judge.forecast(&student, budget)?;
            let error = used.iter().zip(&forecast).map(|(used, said)| (used - said).abs()).sum::<f64>();
            let readings = exam.survey(&student, &texts, budget, format.wording)?;
            let (log_odds, distances): (Vec<f64>, Vec<f64>) =
                readings.iter().map(|reading| (reading.log_odds, reading.distance)).unzip();
            let outcome = evaluation.outcome(decoded)?;
            println!(
                "{percent:>5}% {:>6.2} {:>5.1}% {:>5.1} {:>10.2} {:>13.2} {:>10.2}",
                prices.map_or(f64::NAN, |prices| prices.price(f64::from(percent) / 100.0)),
                100.0 * outcome.stats.help_rate(),
                evaluation.judge(&outcome).scores().chrf,
                error / used.len() as f64,
                pearson(&used, &forecast),
                spearman(&log_odds, &distances),
            );
        }
    }
    Ok(())
}

/// Decodes the validation texts.
struct Judge<'a> {
    evaluation: &'a Evaluation<'a>,
    teacher: &'a Student<Pretrained>,
    help: u32,
    format: &'a PromptFormat,
}

impl Judge<'_> {
    fn decode(
        &self,
        student: &Student<Pretrained>,
        budget: HelpBudget,
        enforcement: Enforcement,
    ) -> Result<Decoded, training_wheels::Error> {
        let desk = HelpDesk::new().with(self.help, Teacher::new(self.teacher));
        let decoder =
            BudgetedDecoder::new(Policy::greedy(student), desk).enforcement(enforcement).with_format(self.format);
        Ok(decoder.decode(&self.evaluation.prompts(budget)?, Seed(0))?)
    }

    /// The help, in tokens, that each text will use by the student's V_C.
    fn forecast(&self, student: &Student<Pretrained>, budget: HelpBudget) -> Result<Vec<f64>, training_wheels::Error> {
        let prompts = self.evaluation.prompts(budget)?;
        let rows: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.student.as_slice()).collect();
        let forecast = student.forecast(&TokenBatch::new(&rows, student.spec().pad));
        Ok(forecast.expect("a student that asks has heads"))
    }
}
