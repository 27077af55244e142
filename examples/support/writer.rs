//! A student that writes with its teacher's help, from the command line: what `translate` and `summarize` share.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use training_wheels::decode::{DecodeStats, Enforcement, Hindsight, ModelUse, Source, Trajectory};
use training_wheels::embedded::Embedded;
use training_wheels::eval::{Evaluation, Interval, Row, Sweep};
use training_wheels::lm::TokenBatch;
use training_wheels::prelude::*;
use training_wheels::text::{Dataset, TextError};
use unicode_segmentation::UnicodeSegmentation;

/// What a writer can be told.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// Texts to work on; a few of the embedded sample where there are none.
    texts: Vec<String>,
    /// A file with one text on each line; "-" is the standard input.
    #[arg(long, conflicts_with = "texts")]
    file: Option<PathBuf>,
    /// Takes every sentence of a text by itself: small models read sentences better than paragraphs.
    #[arg(long, conflicts_with = "sweep")]
    sentences: bool,
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

/// Writes, or sweeps, as the flags say.
pub(crate) fn run(flags: &Flags, embedded: &Embedded) -> Result<(), Box<dyn Error>> {
    let accelerator = device::open(&flags.device)?;
    let folders = flags.student.as_deref().zip(flags.teacher.as_deref());
    let mut models = Models::open(folders, embedded, &accelerator.device)?;
    let format = &mut models.student.format;
    format.wording = flags.wording.unwrap_or(format.wording);
    if !flags.json {
        eprintln!("on {}", accelerator.adapter);
    }
    let writer = Writer { flags, models: &models };
    if flags.sweep { writer.sweep(embedded) } else { writer.write(embedded) }
}

/// Models at work under flags.
struct Writer<'a> {
    flags: &'a Flags,
    models: &'a Models,
}

impl Writer<'_> {
    /// The prompts under a budget, which say another where they are to.
    fn prompts<E>(
        &self,
        budget: HelpBudget,
        say: impl FnOnce(HelpBudget) -> Result<Vec<Prompt>, E>,
    ) -> Result<Vec<Prompt>, E> {
        let prompts = say(self.flags.told.unwrap_or(budget))?;
        Ok(prompts.into_iter().map(|prompt| Prompt { budget, ..prompt }).collect())
    }

    /// The rule by which the student asks.
    fn asking(&self, budget: HelpBudget, prompts: &[Prompt]) -> Result<Asking, training_wheels::Error> {
        let student = &self.models.student;
        match self.flags.told {
            Some(told) => student.asking_by_price(budget, told, prompts),
            None => Ok(student.asking(budget, prompts)),
        }
    }

    fn decoder(&self, asking: Asking) -> BudgetedDecoder<'_> {
        let Flags { no_ledger, hindsight, closing_call, batch, .. } = *self.flags;
        let enforcement = if no_ledger { Enforcement::Off } else { Enforcement::On };
        let hindsight = Hindsight { tolerance_nats: hindsight, closing_call, ..Hindsight::default() };
        self.models.asking(asking).batch_size(batch).enforcement(enforcement).hindsight(hindsight)
    }

    fn write(&self, embedded: &Embedded) -> Result<(), Box<dyn Error>> {
        let Self { flags, models } = *self;
        let (tokenizer, format) = (&models.student.tokenizer, &models.student.format);
        let mut texts = texts(flags, embedded)?;
        if flags.sentences {
            texts = texts.iter().flat_map(|text| sentences(text)).collect();
        }
        let prompts = self.prompts(flags.budget, |said| {
            let prompt = |(index, text): (usize, &String)| {
                format.prompt(tokenizer, text, said).map_err(|error| format!("text {}: {error}", index + 1))
            };
            texts.iter().enumerate().map(prompt).collect::<Result<_, _>>()
        })?;
        let decoder = self.decoder(self.asking(flags.budget, &prompts)?);
        let decoded = decoder.decode(&prompts, Seed(flags.seed))?;
        let rows: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.student.as_slice()).collect();
        let forecast = models.student.model.forecast(&TokenBatch::new(&rows, tokenizer.pad()));
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

    fn sweep(&self, embedded: &Embedded) -> Result<(), Box<dyn Error>> {
        let Self { flags, models } = *self;
        let data = match &flags.data {
            Some(path) => Dataset::from_jsonl(path)?,
            None => embedded.sample(),
        };
        let evaluation = Evaluation::new(&data, &models.student.tokenizer, &models.student.format);
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
        let teacher = evaluation.run_teacher(&models.teacher_alone().batch_size(flags.batch), &prompts, seed)?;
        let student = evaluation.run(&models.student_alone().batch_size(flags.batch), &prompts, seed)?;
        let (judged_student, judged_teacher) = (evaluation.judge(&student), evaluation.judge(&teacher));
        let sweep = Sweep { student: &judged_student, teacher: &judged_teacher, teacher_outcome: &teacher };
        print(&sweep.row("student", 0.0, &student, &judged_student))?;
        for &percent in &flags.budgets {
            let budget = HelpBudget::percent(percent);
            let share = f64::from(percent) / 100.0;
            let prompts = self.prompts(budget, |said| evaluation.prompts(said))?;
            let outcome = evaluation.run(&self.decoder(self.asking(budget, &prompts)?), &prompts, seed)?;
            let judged = evaluation.judge(&outcome);
            let mut row = sweep.row("budgeted", share, &outcome, &judged);
            if flags.random && (1..100).contains(&percent) {
                let decoder = self.decoder(Asking::Random(row.help_rate)).enforcement(Enforcement::Off);
                let random = evaluation.run(&decoder, &prompts, seed)?;
                let random_judged = evaluation.judge(&random);
                row.over_random = Some(judged.over(&random_judged));
                print(&row)?;
                print(&sweep.row("random", share, &random, &random_judged))?;
            } else {
                print(&row)?;
            }
        }
        for &draft in &flags.speculative {
            let prompts = evaluation.prompts(HelpBudget::percent(100))?;
            let decoder = self.decoder(Asking::Every(draft)).hindsight(Hindsight::LOSSLESS);
            let outcome = evaluation.run(&decoder, &prompts, seed)?;
            print(&sweep.row(&format!("draft {draft}"), 1.0, &outcome, &evaluation.judge(&outcome)))?;
        }
        print(&sweep.row("teacher", 1.0, &teacher, &judged_teacher))
    }
}

/// The texts of the arguments, the file or the standard input; lines without text are passed over.
fn texts(flags: &Flags, embedded: &Embedded) -> Result<Vec<String>, Box<dyn Error>> {
    let Some(path) = &flags.file else {
        if !flags.texts.is_empty() {
            return Ok(flags.texts.clone());
        }
        return Ok(embedded.sample().iter().step_by(50).map(|example| example.source.clone()).collect());
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

/// The sentences of a text; a text that has none is one.
fn sentences(text: &str) -> Vec<String> {
    let parts = text.split_sentence_bounds().map(str::trim).filter(|part| !part.is_empty());
    let sentences: Vec<String> = parts.map(str::to_owned).collect();
    if sentences.is_empty() { vec![text.to_owned()] } else { sentences }
}

/// The text, with what the teacher wrote in green or in brackets.
fn marked(tokenizer: &Tokenizer, trajectory: &Trajectory) -> Result<String, TextError> {
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
    let model = |name: &str, used: ModelUse| {
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

const HEADER: &str = "decoder   budget   BLEU   chrF  ROUGE-L  BLEU(teacher)  gap closed in BLEU    gap closed in chrF    gap in \
    ROUGE-L        help  calls/token  teacher tokens/token  seconds";

fn line(row: &Row) -> String {
    let gap = |gap: &Interval| {
        let [value, low, high] = [gap.value, gap.low, gap.high].map(|share| 100.0 * share);
        format!("{value:>6.1}% [{low:>5.1}, {high:>5.1}]")
    };
    let over = row.over_random.map_or(String::new(), |over| {
        let [bleu, chrf, rouge] = [over.bleu, over.chrf, over.rouge_l]
            .map(|over| format!("{:+.1} [{:+.1}, {:+.1}]", over.difference, over.low, over.high));
        format!("  over random: BLEU {bleu}, chrF {chrf}, ROUGE-L {rouge}")
    });
    format!(
        "{:<9} {:>5.0}% {:>6.1} {:>6.1} {:>8.1} {:>14.1} {} {} {} {:>8.1}% {:>12.3} {:>21.3} {:>8.2}{over}",
        row.decoder,
        100.0 * row.budget,
        row.scores.bleu,
        row.scores.chrf,
        row.scores.rouge_l,
        row.bleu_teacher,
        gap(&row.gap_closed.bleu),
        gap(&row.gap_closed.chrf),
        gap(&row.gap_closed.rouge_l),
        100.0 * row.help_rate,
        row.teacher_calls_per_token,
        row.teacher_tokens_processed_per_token,
        row.seconds
    )
}
