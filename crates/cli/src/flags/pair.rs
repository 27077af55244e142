//! The models that write: a student and its teacher, one of them alone, or the sample models.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use training_wheels::decode::{BudgetUnit, Verification};
use training_wheels::prelude::*;
use training_wheels::remote::RemoteTeacher;
use training_wheels::text::ChatPrompt;
use wheels_decode::StatedBudget;

use super::remote::{RemoteFlags, check_conversations, url};
use super::{GenerationFlags, ModelFlags, Task, refuse};
use crate::run;

/// The budget if none is given.
const BUDGET: HelpBudget = HelpBudget::Percent(20);

/// The models that write, and their budget.
#[derive(clap::Args)]
#[command(next_help_heading = "Models")]
pub(crate) struct PairFlags {
    /// The student: a folder or a model of the hub. Without --teacher, it writes alone.
    #[arg(long, value_name = "MODEL")]
    student: Option<PathBuf>,
    /// The teacher: a folder, a model of the hub, or, with --student, the address of a server with OpenAI's API. Without
    /// --student, it writes alone.
    #[arg(long, value_name = "MODEL")]
    teacher: Option<PathBuf>,
    /// Without --student and --teacher: the task of the sample models, which are part of the program.
    #[arg(long, value_enum, default_value = "translation", conflicts_with_all = ["student", "teacher"])]
    task: Task,
    /// The most that the teacher may write in each text: "20%" or "20" of the tokens, rounded up, "3 tokens", or "3 calls". If
    /// absent: 20%.
    ///
    /// The prompt states the budget, and a student that has spent it gets no help.
    #[arg(long, allow_hyphen_values = true)]
    budget: Option<StatedBudget>,
    /// Ask when the most likely token has a lower probability than this. For a student that has not learned to ask.
    #[arg(long, value_name = "PROBABILITY", value_parser = probability)]
    ask_below: Option<f64>,
    /// What a budget in percent counts. A budget in tokens or calls says it. If absent: tokens.
    #[arg(long, value_enum)]
    budget_unit: Option<Unit>,
    /// Let the teacher only answer, and verify nothing, whatever the student's calibration says.
    #[arg(long)]
    no_verification: bool,
    #[command(flatten)]
    remote: RemoteFlags,
    #[command(flatten)]
    pub(crate) generation: GenerationFlags,
    #[command(flatten)]
    models: ModelFlags,
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Unit {
    /// Tokens of the teacher.
    Tokens,
    /// Calls of the teacher. A server can bring several tokens with each (--span).
    Calls,
}

impl From<Unit> for BudgetUnit {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::Tokens => Self::Tokens,
            Unit::Calls => Self::Calls,
        }
    }
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Writer {
    Pair,
    Student,
    Teacher,
}

/// The models that write, opened.
pub(crate) struct Writers {
    pub(crate) writer: Writer,
    /// A model without a teacher on this machine is a pair with itself.
    pub(crate) pair: Pair,
    /// The teacher, if it is behind a server.
    pub(crate) remote: Option<RemoteTeacher>,
    /// The budget of each text. 0% for a model alone.
    pub(crate) budget: HelpBudget,
    pub(crate) unit: BudgetUnit,
    /// What replaces the verification of the student's calibration.
    pub(crate) verification: Option<Verification>,
    ask_below: Option<f64>,
}

impl PairFlags {
    /// The task of the sample models, if they write.
    pub(crate) fn sample(&self) -> Option<Task> {
        (self.student.is_none() && self.teacher.is_none()).then_some(self.task)
    }

    /// Opens a model that writes alone, which these flags do not name.
    ///
    /// # Errors
    /// If it does not open.
    pub(crate) fn open_alone(&self, name: &Path) -> Result<TextModel, Box<dyn Error>> {
        self.check_alone()?;
        self.remote.check(None)?;
        let (device, dtype) = self.models.open()?;
        let mut model = run::open_model(name, (&device, dtype))?;
        self.generation.set(&mut model.generation);
        Ok(model)
    }

    /// Opens the models.
    ///
    /// # Errors
    /// If a model does not open, if the student cannot ask, or if there is a budget and nobody to ask.
    pub(crate) fn open(&self) -> Result<Writers, Box<dyn Error>> {
        let server = self.teacher.as_deref().and_then(url);
        // The only model on this machine, unless there are two.
        let (writer, only) = match (&self.student, &self.teacher, server) {
            (None, Some(_), Some(_)) => {
                return Err("a teacher behind a server needs a student on this machine: give --student".into());
            }
            (Some(student), Some(_), Some(_)) => (Writer::Pair, Some(student)),
            (Some(student), None, _) => (Writer::Student, Some(student)),
            (None, Some(teacher), None) => (Writer::Teacher, Some(teacher)),
            _ => (Writer::Pair, None),
        };
        self.remote.check(self.teacher.as_deref())?;
        if writer != Writer::Pair {
            self.check_alone()?;
        }
        let unit = self.unit()?;
        let (device, dtype) = self.models.open()?;
        let open = |name: &Path| run::open_model(name, (&device, dtype));
        let embedded = self.task.embedded();
        let mut pair = match (only, &self.student, &self.teacher) {
            (Some(name), ..) => Pair::with_itself(open(name)?)?,
            (None, Some(student), Some(teacher)) => Pair::new(open(student)?, open(teacher)?)?,
            _ => Pair::from_files(embedded.student, embedded.teacher, (&device, dtype))?,
        };
        if writer == Writer::Pair && self.ask_below.is_none() {
            pair.check_asks()?;
        }
        self.generation.set(&mut pair.student.generation);
        let remote = self.remote.connect(self.teacher.as_deref(), &pair.student)?;
        // A help rule replaces the calibration, and with it what it verifies.
        if let (Some(remote), false, None) = (&remote, self.no_verification, self.ask_below) {
            let checked = pair.student.check_expert(remote);
            checked.map_err(|error| format!("{}; or give --no-verification", training_wheels::report(&error)))?;
        }
        let budget = match writer {
            Writer::Pair => self.budget.map_or(BUDGET, |stated| stated.budget),
            Writer::Student | Writer::Teacher => HelpBudget::percent(0),
        };
        Ok(Writers {
            writer,
            remote,
            pair,
            budget,
            unit,
            verification: self.no_verification.then(Verification::default),
            ask_below: self.ask_below,
        })
    }

    /// What budgets count.
    ///
    /// # Errors
    /// If the budget says something else than its unit.
    fn unit(&self) -> Result<BudgetUnit, Box<dyn Error>> {
        match (self.budget.and_then(|stated| stated.unit), self.budget_unit.map(BudgetUnit::from)) {
            (Some(stated), Some(unit)) if stated != unit => {
                Err("--budget and --budget-unit differ: leave --budget-unit out".into())
            }
            (stated, unit) => Ok(stated.or(unit).unwrap_or_default()),
        }
    }

    /// # Errors
    /// If a flag is given that a model alone cannot heed.
    fn check_alone(&self) -> Result<(), Box<dyn Error>> {
        let given = [
            ("--budget", self.budget.is_some()),
            ("--ask-below", self.ask_below.is_some()),
            ("--budget-unit", self.budget_unit.is_some()),
            ("--no-verification", self.no_verification),
        ];
        refuse(&given, "needs --student and --teacher: a model alone gets no help")
    }
}

impl Writers {
    /// Makes prompts with the chat template of the model, if it has one. Returns whether it has.
    ///
    /// # Errors
    /// If there is a system text and no chat template.
    pub(crate) fn use_chat_template(&mut self, system: Option<&str>) -> Result<bool, Box<dyn Error>> {
        let TextModel { template, tokenizer, .. } = &mut self.pair.student;
        if template.chat.is_none() && tokenizer.chat_template().is_some() {
            template.chat = Some(ChatPrompt::default());
        }
        match (&mut template.chat, system) {
            (Some(chat), Some(system)) => chat.system = Some(system.to_owned()),
            (None, Some(_)) => return Err("--system needs a model with a chat template".into()),
            _ => {}
        }
        let has_chat = template.chat.is_some();
        if let Some(remote) = &self.remote {
            check_conversations(remote, &self.pair.student)?;
        }
        Ok(has_chat)
    }

    /// The rule by which the student asks in place of its own, if the flags say so.
    pub(crate) fn help_rule(&self) -> Option<HelpRule> {
        self.ask_below.map(|probability| Confidence::MaxProb.below(probability))
    }

    /// The decoder of these models.
    pub(crate) fn decoder(&self) -> BudgetedDecoder<'_> {
        let policy = || {
            let policy = self.pair.policy();
            self.help_rule().map_or(policy, |rule| policy.with_help_rule(rule))
        };
        let decoder = match (self.writer, &self.remote) {
            (Writer::Student, _) => return self.pair.student_alone(),
            (Writer::Teacher, _) => return self.pair.teacher_alone(),
            (Writer::Pair, None) => self.pair.decoder_with(policy()),
            (Writer::Pair, Some(remote)) => self.pair.decoder_of(policy(), remote),
        };
        decoder.with_verification(self.verification).with_budget_unit(self.unit)
    }
}

fn probability(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number")?;
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("a probability lies between 0 and 1".into()) }
}
