//! `wheels serve`: a server with OpenAI's API, budgets, and a page.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;
use training_wheels::prelude::*;
use wheels_decode::StatedBudget;
use wheels_serve::{ApiKey, Served, Server, ServerConfig};

use super::Outcome;
use crate::command_line::App;
use crate::flags::{PairFlags, Writer, Writers, at_least_1};
use crate::run::interrupt::{self, Phase};
use crate::screen::console;

const EXAMPLES: &str = "\
Examples:
  wheels serve
  wheels serve --student distilled --teacher teacher --budget 10% --max-budget 20%
  wheels serve --student distilled --teacher http://localhost:8000/v1 --teacher-model large
  wheels serve --model Qwen/Qwen2.5-1.5B-Instruct --listen 127.0.0.1:8001

The last one serves one model alone, which can be the teacher of a student on another machine.";

/// Serves a student and its teacher with OpenAI's API, and a page to try them.
///
/// Open the address that it prints in a browser, or send requests to /v1/completions and /v1/chat/completions. A request
/// can state a budget: "budget": "20%". Usage counts the tokens of student and teacher apart. If the environment variable
/// WHEELS_API_KEY is set, clients must send that key.
///
/// Only this machine reaches the default address. There is no encryption: put a reverse proxy with TLS in front of the
/// server before it listens to a network.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// A model that is served alone, without a teacher: a folder or a model of the hub.
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["student", "teacher", "task", "budget", "ask_below"])]
    model: Option<PathBuf>,
    #[command(flatten)]
    models: PairFlags,
    #[command(flatten)]
    server: ServerFlags,
}

/// The settings of the server.
#[derive(clap::Args)]
#[command(next_help_heading = "Server")]
struct ServerFlags {
    /// The address to listen on. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value_t = ServerConfig::default().listen)]
    listen: SocketAddr,
    /// The name of the model in requests and answers.
    #[arg(long = "name", value_name = "NAME", default_value_t = ServerConfig::default().model_name)]
    model_name: String,
    /// The largest budget that a request may state. --budget is that of a request that states none.
    #[arg(long, value_name = "BUDGET", default_value_t = ServerConfig::default().max_budget.into())]
    max_budget: StatedBudget,
    /// The number of texts that are decoded together.
    #[arg(long, value_name = "ROWS", default_value_t = ServerConfig::default().batch_size, value_parser = at_least_1())]
    batch_size: usize,
    /// Texts that want help wait until this many of them want it, or until none can go on.
    #[arg(long, value_name = "ROWS", default_value_t = ServerConfig::default().help_batch, value_parser = at_least_1())]
    help_batch: usize,
    /// The number of texts that can wait for a free row. Requests past it get the status 429.
    #[arg(long, value_name = "TEXTS", default_value_t = ServerConfig::default().queue, value_parser = at_least_1())]
    queue: usize,
    /// The largest number of tokens of a prompt.
    #[arg(long, value_name = "N", default_value_t = ServerConfig::default().max_prompt_tokens, value_parser = at_least_1())]
    max_prompt_tokens: usize,
    /// The largest number of tokens that a request may ask for. --max-new-tokens is that of a request that asks for none.
    #[arg(long, value_name = "N", default_value_t = ServerConfig::default().max_new_tokens, value_parser = at_least_1())]
    max_tokens: usize,
    /// The largest size of a request, bytes.
    #[arg(long, value_name = "BYTES", default_value_t = ServerConfig::default().max_body_bytes, value_parser = at_least_1())]
    max_body_bytes: usize,
    /// The longest time from a request to the end of its answer, seconds.
    #[arg(long = "timeout", value_name = "SECONDS", default_value_t = ServerConfig::default().request_timeout_s)]
    request_timeout_s: u64,
    /// The longest time that running texts get to end when the server stops, seconds.
    #[arg(long = "grace", value_name = "SECONDS", default_value_t = ServerConfig::default().shutdown_grace_s)]
    shutdown_grace_s: u64,
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let (served, budget) = match &flags.model {
        Some(model) => (Served::model(flags.models.open_alone(model)?)?, HelpBudget::percent(0)),
        None => {
            let writers = flags.models.open()?;
            let rule = writers.help_rule();
            let Writers { writer, pair, remote, budget, unit, verification, .. } = writers;
            let max_unit = flags.server.max_budget.unit;
            if remote.is_some() && max_unit.is_some_and(|stated| stated != unit) {
                return Err("--max-budget and --budget-unit differ: budgets count one or the other".into());
            }
            let served = match (writer, remote) {
                (Writer::Pair, None) => Served::pair(pair),
                (Writer::Pair, Some(teacher)) => Served::remote(pair.student, teacher)?,
                (Writer::Student | Writer::Teacher, _) => Served::model(pair.student)?,
            };
            (served.with_budget_unit(unit).with_help_rule(rule).with_verification(verification), budget)
        }
    };
    let server = Server::bind(served, flags.server.config(budget, flags.models.generation.seed))?;
    let url = format!("http://{}", server.address());
    console::say(format_args!("serving at {url} (Ctrl-C stops)"));
    app.output.json(&json!({ "url": url }))?;
    interrupt::enter(Phase::Serving);
    Ok(server.run()?)
}

impl ServerFlags {
    fn config(&self, default_budget: HelpBudget, seed: u64) -> ServerConfig {
        ServerConfig {
            listen: self.listen,
            model_name: self.model_name.clone(),
            default_budget,
            max_budget: self.max_budget.budget,
            batch_size: self.batch_size,
            help_batch: self.help_batch,
            queue: self.queue,
            max_prompt_tokens: self.max_prompt_tokens,
            max_new_tokens: self.max_tokens,
            seed: Some(seed),
            max_body_bytes: self.max_body_bytes,
            request_timeout_s: self.request_timeout_s,
            shutdown_grace_s: self.shutdown_grace_s,
            api_key: ApiKey::from_env(),
        }
    }
}
