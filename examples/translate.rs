//! Translates English into Italian with a small student that asks its larger teacher for help.
//!
//!     cargo run --release --example translate
//!     cargo run --release --example translate -- --budget "3 tokens" "A fast and lightweight web browser."
//!     cargo run --release --example translate -- --sweep
//!
//! What the teacher wrote is green on a terminal, and in [brackets] elsewhere.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/program.rs"]
mod program;

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Parser;
use training_wheels::decode::{DecodeStats, Enforcement, Hindsight, Source, Trajectory};
use training_wheels::eval::{Evaluation, Interval, Outcome, Row};
use training_wheels::lm::TokenBatch;
use training_wheels::prelude::*;
use training_wheels::text::Dataset;
use training_wheels::{decode::Side, embedded};

/// Translates English into Italian: a small student writes, and asks its teacher where it is unsure.
#[derive(Parser)]
struct Flags {
    /// Texts to translate; a few of the embedded sample where there are none.
    texts: Vec<String>,
    /// A file with one text on each line; "-" is the standard input.
    #[arg(long, conflicts_with = "texts")]
    file: Option<PathBuf>,
    /// How much the teacher may write: "20%" of the tokens of each text, or "3 tokens".
    #[arg(long, default_value = "20%")]
    budget: HelpBudget,
    /// Lets the teacher look back when it is called, and answer where the student's word was so many nats less likely to
    /// it than its own; "inf" is never.
    #[arg(long, value_name = "NATS", default_value_t = f64::INFINITY)]
    hindsight: f64,
    /// Calls the teacher once more at the end of a text, to look back over what it has not read.
    #[arg(long, requires = "hindsight")]
    closing_call: bool,
    /// Device: "auto", "cpu", "cuda:0", "vulkan", "metal", "wgpu", "wgpu:cpu", ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
    /// Texts at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    batch: usize,
    /// Seed; it matters where something is drawn.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// One JSON object a line in place of text and tables.
    #[arg(long)]
    json: bool,
    /// Measures quality against help under several budgets.
    #[arg(long)]
    sweep: bool,
    /// The budgets of a sweep, in percent.
    #[arg(long, requires = "sweep", value_delimiter = ',', default_values_t = [0, 5, 10, 20, 30, 50, 100],
        value_parser = clap::value_parser!(u8).range(..=100))]
    budgets: Vec<u8>,
    /// Gives help wherever the student asks: what it uses is what it learned.
    #[arg(long)]
    no_ledger: bool,
    /// Says another budget to the student than it has: it asks as its learned prices of the two budgets tell.
    #[arg(long, value_name = "BUDGET")]
    told: Option<HelpBudget>,
    /// Which of the ways to say a budget is used, from 0; 7 is one that no student was trained with.
    #[arg(long)]
    wording: Option<usize>,
    /// Measures random asking, too, at the rate that each budget used.
    #[arg(long, requires = "sweep")]
    random: bool,
    /// Measures speculative decoding, too, with drafts of so many tokens.
    #[arg(long, requires = "sweep", value_delimiter = ',')]
    speculative: Vec<usize>,
    /// JSON lines with `source` and `target` for the sweep, in place of the embedded sample.
    #[arg(long, requires = "sweep")]
    data: Option<PathBuf>,
    /// A student's folder, in place of the embedded one.
    #[arg(long, requires = "teacher")]
    student: Option<PathBuf>,
    /// A teacher's folder, in place of the embedded one.
    #[arg(long, requires = "student")]
    teacher: Option<PathBuf>,
}

/// A student, a teacher and the token by which one calls the other.
struct Pair {
    student: Bundle,
    teacher: Bundle,
    help: u32,
}

fn main() -> ExitCode {
    program::main(|| run(&Flags::parse()))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let accelerator = device::open(&flags.device)?;
    let (mut student, teacher) = match (&flags.student, &flags.teacher) {
        (Some(student), Some(teacher)) => {
            (Bundle::from_dir(student, &accelerator.device)?, Bundle::from_dir(teacher, &accelerator.device)?)
        }
        _ => (
            Bundle::from_files(&embedded::STUDENT, &accelerator.device)?,
            Bundle::from_files(&embedded::TEACHER, &accelerator.device)?,
        ),
    };
    student.check_teacher(&teacher)?;
    student.format.wording = flags.wording.unwrap_or(student.format.wording);
    let pair = Pair { help: student.tokenizer.help_token("teacher")?, student, teacher };
    if !flags.json {
        eprintln!("on {}", accelerator.adapter);
    }
    if flags.sweep { sweep(flags, &pair) } else { translate(flags, &pair) }
}

impl Pair {
    /// The prompts under a budget, which say another where they are to.
    fn prompts<E>(
        flags: &Flags,
        budget: HelpBudget,
        say: impl FnOnce(HelpBudget) -> Result<Vec<Prompt>, E>,
    ) -> Result<Vec<Prompt>, E> {
        let prompts = say(flags.told.unwrap_or(budget))?;
        Ok(prompts.into_iter().map(|prompt| Prompt { budget, ..prompt }).collect())
    }

    /// The rule by which the student asks.
    fn asking(&self, flags: &Flags, budget: HelpBudget, prompts: &[Prompt]) -> Result<Asking, training_wheels::Error> {
        match flags.told {
            Some(told) => self.student.asking_by_price(budget, told, prompts),
            None => Ok(self.student.asking(budget, prompts)),
        }
    }

    fn decoder(&self, flags: &Flags, asking: Asking) -> BudgetedDecoder<'_> {
        let policy = Policy::greedy(&self.student.model).asking(asking);
        let desk = HelpDesk::new().with(self.help, Teacher::new(&self.teacher.model));
        let enforcement = if flags.no_ledger { Enforcement::Off } else { Enforcement::On };
        let hindsight =
            Hindsight { tolerance_nats: flags.hindsight, closing_call: flags.closing_call, ..Hindsight::default() };
        let decoder = BudgetedDecoder::new(policy, desk).batch_size(flags.batch).max_ratio(2.0, 16);
        decoder.enforcement(enforcement).hindsight(hindsight)
    }

    fn alone<'a>(&'a self, flags: &Flags, bundle: &'a Bundle, side: Side) -> BudgetedDecoder<'a> {
        let policy = Policy::greedy(&bundle.model).asking(Asking::Never).reading(side);
        BudgetedDecoder::new(policy, HelpDesk::new().closed(self.help)).batch_size(flags.batch).max_ratio(2.0, 16)
    }
}

fn translate(flags: &Flags, pair: &Pair) -> Result<(), Box<dyn Error>> {
    let (tokenizer, format) = (&pair.student.tokenizer, &pair.student.format);
    let texts = texts(flags)?;
    let prompts = Pair::prompts(flags, flags.budget, |said| {
        let prompt = |(index, text): (usize, &String)| {
            format.prompt(tokenizer, text, said).map_err(|error| format!("text {}: {error}", index + 1))
        };
        texts.iter().enumerate().map(prompt).collect::<Result<_, _>>()
    })?;
    let asking = pair.asking(flags, flags.budget, &prompts)?;
    let decoded = pair.decoder(flags, asking).decode(&prompts, Seed(flags.seed))?;
    let rows: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.student.as_slice()).collect();
    let forecast = pair.student.model.forecast(&TokenBatch::new(&rows, tokenizer.pad()));
    let mut out = anstream::stdout().lock();
    for (index, (text, trajectory)) in texts.iter().zip(&decoded.trajectories).enumerate() {
        if flags.json {
            let line = serde_json::json!({
                "source": text,
                "target": tokenizer.decode(&trajectory.tokens())?,
                "tokens": trajectory.steps.len(),
                "helped": trajectory.helped(),
                "forecast": forecast.as_ref().map(|forecast| forecast[index]),
                "steps": trajectory.steps,
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{text}\n  {}", marked(tokenizer, trajectory)?)?;
        }
    }
    if flags.json {
        writeln!(out, "{}", serde_json::to_string(&decoded.stats)?)?;
    } else {
        writeln!(out, "\n{}", table(&decoded.stats, flags.budget, forecast.map(|forecast| forecast.iter().sum())))?;
    }
    Ok(())
}

/// The texts of the arguments, the file or the standard input; lines without text are passed over.
fn texts(flags: &Flags) -> Result<Vec<String>, Box<dyn Error>> {
    let Some(path) = &flags.file else {
        if !flags.texts.is_empty() {
            return Ok(flags.texts.clone());
        }
        let sample = Dataset::from_jsonl_reader(embedded::SAMPLE.as_bytes(), "the embedded sample")?;
        return Ok(sample.iter().step_by(50).map(|example| example.source.clone()).collect());
    };
    let reader: Box<dyn BufRead> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(path).map_err(|error| format!("{}: {error}", path.display()))?)),
    };
    let mut texts = Vec::new();
    for (index, line) in reader.lines().enumerate() {
        let line = line.map_err(|error| format!("{}, line {}: {error}", path.display(), index + 1))?;
        if !line.trim().is_empty() {
            texts.push(line);
        }
    }
    if texts.is_empty() { Err(format!("{} holds no text", path.display()).into()) } else { Ok(texts) }
}

/// The text, with what the teacher wrote in green or in brackets.
fn marked(tokenizer: &Tokenizer, trajectory: &Trajectory) -> Result<String, training_wheels::text::TextError> {
    let (open, close) = if std::io::stdout().is_terminal() {
        let style = Style::new().fg_color(Some(AnsiColor::Green.into())).bold();
        (style.render().to_string(), style.render_reset().to_string())
    } else {
        ("[".into(), "]".into())
    };
    let mut stream = tokenizer.stream();
    let mut marked = String::new();
    for step in &trajectory.steps {
        let piece = stream.push(step.token)?.unwrap_or_default();
        let word = piece.trim_start();
        marked += &piece[..piece.len() - word.len()];
        if step.source == Source::Student || word.is_empty() {
            marked += word;
        } else {
            marked += &format!("{open}{word}{close}");
        }
    }
    Ok(marked + &stream.finish()?.unwrap_or_default())
}

/// What the texts took, and how many tokens of help the student's V_C said that they would.
fn table(stats: &DecodeStats, budget: HelpBudget, forecast: Option<f64>) -> String {
    let percent = |rate: f64| format!("{:.1}%", 100.0 * rate);
    let model = |name: &str, used: training_wheels::decode::ModelUse| {
        format!(
            "{name:<8} {:>9} forwards {:>9} tokens processed {:>7} prompt tokens",
            used.forwards, used.tokens_processed, used.prompt_tokens
        )
    };
    format!(
        "help     budget {budget}, asked {} and used {} of {} tokens{}\n{}\n{}\ntime     {:.2} s, {:.0} tokens/s",
        percent(stats.asked_rate()),
        percent(stats.help_rate()),
        stats.tokens,
        forecast.map_or(String::new(), |tokens| format!(", forecast {tokens:.0} tokens")),
        model("student", stats.student),
        model("teacher", stats.teacher),
        stats.elapsed.as_secs_f64(),
        stats.tokens_per_second(),
    )
}

fn sweep(flags: &Flags, pair: &Pair) -> Result<(), Box<dyn Error>> {
    let data = match &flags.data {
        Some(path) => Dataset::from_jsonl(path)?,
        None => Dataset::from_jsonl_reader(embedded::SAMPLE.as_bytes(), "the embedded sample")?,
    };
    let evaluation = Evaluation::new(&data, &pair.student.tokenizer, &pair.student.format);
    let seed = Seed(flags.seed);
    let print = |row: &Row| -> Result<(), Box<dyn Error>> {
        let mut out = anstream::stdout().lock();
        if flags.json {
            writeln!(out, "{}", serde_json::to_string(row)?)?
        } else {
            writeln!(out, "{}", line(row))?
        }
        Ok(())
    };
    if !flags.json {
        println!("{} texts\n{HEADER}", data.len());
    }
    let prompts = evaluation.prompts(HelpBudget::percent(0))?;
    let teacher = evaluation.run_teacher(&pair.alone(flags, &pair.teacher, Side::Expert), &prompts, seed)?;
    let student = evaluation.run(&pair.alone(flags, &pair.student, Side::Student), &prompts, seed)?;
    let row = |decoder: &str, budget, outcome: &Outcome| evaluation.row(decoder, budget, outcome, &student, &teacher);
    print(&row("student", 0.0, &student))?;
    for &percent in &flags.budgets {
        let budget = HelpBudget::percent(percent);
        let share = f64::from(percent) / 100.0;
        let prompts = Pair::prompts(flags, budget, |said| evaluation.prompts(said))?;
        let asking = pair.asking(flags, budget, &prompts)?;
        let outcome = evaluation.run(&pair.decoder(flags, asking), &prompts, seed)?;
        let mut measured = row("budgeted", share, &outcome);
        if flags.random && (1..100).contains(&percent) {
            let decoder = pair.decoder(flags, Asking::Random(measured.help_rate)).enforcement(Enforcement::Off);
            let random = evaluation.run(&decoder, &prompts, seed)?;
            measured.bleu_over_random = Some(outcome.bleu_over(&random, evaluation.references()));
            print(&measured)?;
            print(&row("random", share, &random))?;
        } else {
            print(&measured)?;
        }
    }
    for &draft in &flags.speculative {
        let prompts = evaluation.prompts(HelpBudget::percent(100))?;
        let lossless = Hindsight { tolerance_nats: 0.0, closing_call: true, ..Hindsight::default() };
        let decoder = pair.decoder(flags, Asking::Every(draft)).hindsight(lossless);
        print(&row(&format!("draft {draft}"), 1.0, &evaluation.run(&decoder, &prompts, seed)?))?;
    }
    print(&row("teacher", 1.0, &teacher))
}

const HEADER: &str = "decoder   budget   BLEU   chrF  BLEU(teacher)  gap closed in BLEU    gap closed in chrF      help  \
    calls/token  teacher tokens/token  seconds";

fn line(row: &Row) -> String {
    let gap = |gap: &Interval| {
        let [value, low, high] = [gap.value, gap.low, gap.high].map(|share| 100.0 * share);
        format!("{value:>6.1}% [{low:>5.1}, {high:>5.1}]")
    };
    let over = row.bleu_over_random.map_or(String::new(), |over| {
        format!("  BLEU over random {:+.1} [{:+.1}, {:+.1}]", over.difference, over.low, over.high)
    });
    format!(
        "{:<9} {:>5.0}% {:>6.1} {:>6.1} {:>14.1} {} {} {:>8.1}% {:>12.3} {:>21.3} {:>8.2}{over}",
        row.decoder,
        100.0 * row.budget,
        row.bleu,
        row.chrf,
        row.bleu_teacher,
        gap(&row.gap_closed_bleu),
        gap(&row.gap_closed_chrf),
        100.0 * row.help_rate,
        row.teacher_calls_per_token,
        row.teacher_tokens_processed_per_token,
        row.seconds
    )
}
