//! The flags of `wheels evaluate`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ArgAction::Set;
use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;
use training_wheels::prelude::*;
use wheels_eval::ByMetric;

use super::systems::{self, System};
use crate::flags::{BatchingFlags, DataFlags, Task, at_least_1};

const EXAMPLES: &str = "\
Examples:
  wheels evaluate --student distilled --teacher teacher --data test.jsonl
  wheels evaluate --task summary --devices cpu,wgpu:cpu --limit 20
  wheels evaluate --config evaluation-distilled/run.toml --decoders calibrated,random,max-prob --valid valid.jsonl";

/// Measures decoders: quality against help, teacher calls and latency.
///
/// The folder of the results gets results.json, table.csv, table.md, the figures as SVG and PNG, and report.html, a page with
/// the figures (of the first seven decoders) and all texts. Decoded texts are kept there too: the same command again goes on after an interruption, and a
/// command with more decoders or budgets adds them. If a flag is given twice, the last one counts.
#[derive(clap::Args)]
#[command(args_override_self = true, after_help = format!("{EXAMPLES}\n\n{}", systems::DESCRIPTIONS))]
pub(crate) struct Flags {
    /// Decoders, see below. The student alone and the teacher alone are always measured.
    #[arg(long, action = Set, value_delimiter = ',', default_value = "calibrated,random,verify:1,draft:4,adaptive:4")]
    pub(crate) decoders: Vec<System>,
    /// Budgets, percent of the tokens: 10,20 or 10%,20%.
    #[arg(long, action = Set, value_delimiter = ',', allow_hyphen_values = true, value_parser = percentage,
        default_value = "5,10,20,30,50")]
    pub(crate) budgets: Vec<u8>,
    /// Budgets in tokens per text, such as 1,3,10, under which calibrated, uncalibrated and enforced are measured too, in a
    /// table of its own.
    #[arg(long, action = Set, value_delimiter = ',', value_name = "TOKENS")]
    pub(crate) token_budgets: Vec<u32>,
    /// The task of the embedded models and texts.
    #[arg(long, value_enum, default_value = "translation")]
    pub(crate) task: Task,
    /// The data: JSON lines, a JSON list, CSV or TSV. The embedded sample if absent.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) fields: DataFlags,
    /// Validation data, on which the thresholds of learned, max-prob, margin, entropy, oracle and bild are found. The
    /// other decoders do not need it.
    #[arg(long)]
    pub(crate) valid: Option<PathBuf>,
    /// The number of validation texts to use.
    #[arg(long, default_value_t = 300)]
    pub(crate) valid_texts: usize,
    /// Use only this many texts of the data, from the start.
    #[arg(long)]
    pub(crate) limit: Option<usize>,
    /// The folder of your own student, in place of the embedded one.
    #[arg(long, requires = "teacher")]
    pub(crate) student: Option<PathBuf>,
    /// The folder of your own teacher.
    #[arg(long, requires = "student")]
    pub(crate) teacher: Option<PathBuf>,
    /// State this budget in all prompts, such as "20%" or "3 tokens", instead of the real one. The student's thresholds
    /// then move by the difference of its learned prices.
    #[arg(long, value_name = "BUDGET", allow_hyphen_values = true)]
    pub(crate) stated_budget: Option<HelpBudget>,
    /// The index of the wording that states budgets. 7 is the one that no student was trained with.
    #[arg(long, value_name = "N",
        value_parser = RangedU64ValueParser::<usize>::new().range(..HelpBudget::WORDINGS as u64))]
    pub(crate) wording: Option<usize>,
    /// Devices to compare: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ... The figures show the first one.
    #[arg(long, action = Set, value_delimiter = ',', default_value = "auto")]
    pub(crate) devices: Vec<DeviceSpec>,
    /// The format of the models' matrices in memory: f32, with half the memory f16 or bf16, or on CPUs int8.
    #[arg(long, default_value_t)]
    pub(crate) dtype: WeightFormat,
    /// The score in the figures and in the comparisons of the printed table. BLEU for translation and ROUGE-L for summaries if absent.
    #[arg(long, value_enum)]
    pub(crate) metric: Option<Metric>,
    /// The number of texts that are decoded together.
    #[arg(long, default_value_t = 32, value_parser = at_least_1())]
    pub(crate) batch: usize,
    #[command(flatten)]
    pub(crate) batching: BatchingFlags,
    /// Seed of random help.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// The number of texts in report.html.
    #[arg(long, default_value_t = 200)]
    pub(crate) browse: usize,
    /// The folder of the results. If absent: evaluation-NAME, with the name of the student's folder or of the task. The same
    /// command goes on with the outputs that it finds there.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Metric {
    /// BLEU: n-grams of words shared with the references.
    Bleu,
    /// chrF: n-grams of characters shared with the references.
    Chrf,
    /// ROUGE-L: longest sequences of words shared with the references.
    RougeL,
}

impl Metric {
    /// The value of this metric.
    pub(crate) fn of<T: Copy>(self, by: &ByMetric<T>) -> T {
        match self {
            Self::Bleu => by.bleu,
            Self::Chrf => by.chrf,
            Self::RougeL => by.rouge_l,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bleu => "BLEU",
            Self::Chrf => "chrF",
            Self::RougeL => "ROUGE-L",
        }
    }
}

impl Flags {
    /// The folder of the results.
    pub(crate) fn folder(&self) -> PathBuf {
        let name = |student: &Path| {
            // `.` and `..` have a name only as a whole path.
            let whole = fs::canonicalize(student).unwrap_or_else(|_| student.to_owned());
            let name = student.file_name().or(whole.file_name()).unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        self.out.clone().unwrap_or_else(|| {
            let name = self.student.as_deref().map_or_else(|| self.task.name().to_owned(), name);
            format!("evaluation-{name}").into()
        })
    }

    /// The score in the figures and in the comparisons of the printed table.
    pub(crate) fn chosen_metric(&self) -> Metric {
        self.metric.unwrap_or(match self.task {
            Task::Translation => Metric::Bleu,
            Task::Summary => Metric::RougeL,
        })
    }
}

/// A budget that decoders can be compared under: a percentage of the tokens.
fn percentage(text: &str) -> Result<u8, String> {
    match text.parse::<HelpBudget>() {
        Ok(HelpBudget::Percent(percent @ 1..100)) => Ok(percent),
        Ok(HelpBudget::Percent(_)) => Err(
            "the student alone (0%) and the teacher alone (100%) are always measured: write percentages from 1% to \
                 99%, such as 10,20 or 10%,20%"
                .into(),
        ),
        Ok(HelpBudget::Tokens(_)) => {
            Err("decoders are compared under percentages of the tokens, such as 10,20 or 10%,20%".into())
        }
        Err(error) => Err(error.to_string()),
    }
}
