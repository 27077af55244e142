//! Serves a pair, the embedded translation models by default.
//!
//!     cargo run --release --example serve
//!     cargo run --release --example serve -- --student distilled --teacher teacher --max-budget 20%
//!     cargo run --release --example serve -- --model teacher --listen 127.0.0.1:8001
#![allow(clippy::print_stderr)]

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use training_wheels::prelude::*;
use training_wheels::text::HelpBudget;
use wheels_embedded::TRANSLATION;
use wheels_serve::{ApiKey, Served, Server, ServerConfig};

/// Serves a student that asks its teacher for help, with the API of OpenAI and a page at /.
///
/// Clients must send the key in WHEELS_API_KEY, if it is set.
#[derive(Parser)]
struct Flags {
    /// The folder of your own student, instead of the embedded one.
    #[arg(long, requires = "teacher")]
    student: Option<PathBuf>,
    /// The folder of your own teacher.
    #[arg(long, requires = "student")]
    teacher: Option<PathBuf>,
    /// The folder of a model that is served alone, without a teacher.
    #[arg(long, conflicts_with = "student")]
    model: Option<PathBuf>,
    /// The device, such as cpu, cuda or wgpu.
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
    /// The address to listen on. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// The budget of a request that states none.
    #[arg(long, default_value = "20%")]
    budget: HelpBudget,
    /// The largest budget of a request.
    #[arg(long, default_value = "100%")]
    max_budget: HelpBudget,
}

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let flags = Flags::parse();
    let device = device::open(&flags.device)?.device;
    let served = match (&flags.model, &flags.student, &flags.teacher) {
        (Some(model), ..) => Served::model(TextModel::open(model, &device)?)?,
        (None, Some(student), Some(teacher)) => Served::pair(Pair::open(student, teacher, &device)?)?,
        _ => Served::pair(Pair::from_files(TRANSLATION.student, TRANSLATION.teacher, &device)?)?,
    };
    let config = ServerConfig {
        listen: flags.listen,
        default_budget: flags.budget,
        max_budget: flags.max_budget,
        api_key: ApiKey::from_env(),
        ..ServerConfig::default()
    };
    let server = Server::bind(served, config)?;
    eprintln!("http://{}  (Ctrl-C stops the server)", server.address());
    Ok(server.run()?)
}
