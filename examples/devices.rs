//! What can compute here: every adapter that this build reaches, each opened and put to a small test.
//!
//!     cargo run --release --example devices
//!     cargo run --release --example devices --features wgpu -- --device wgpu:cpu --json
//!
//! An adapter that does not open, computes wrongly, panics or does not answer in time says so in its row, and the exit
//! code is 1.

use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use burn::tensor::Device;
use clap::Parser;
use serde::Deserialize;
use serde_json::json;
use training_wheels::device::{self, Accelerator, Adapter, DeviceSpec, Panicked, PlatformName, Precision};
use training_wheels::explain;
use training_wheels::lm::{Checkpoint, LanguageModel, Pretrained, TokenBatch};

/// Every device that this build reaches, what it can do and whether it computes rightly.
#[derive(Parser)]
struct Arguments {
    /// Only this device ("cpu", "cuda:1", "wgpu:cpu", ...).
    #[arg(long)]
    device: Option<DeviceSpec>,
    /// The precision to compute in: f32, f16, bf16 or flex32.
    #[arg(long, default_value_t)]
    precision: Precision,
    /// Seconds that an adapter has to open and to compute (a GPU first compiles its kernels).
    #[arg(long, default_value_t = 120)]
    timeout: u64,
    /// One JSON object a line instead of the table.
    #[arg(long)]
    json: bool,
}

/// The open device and the largest error of its self-test, or what went wrong on the way.
type Outcome = Result<(Accelerator, f64), String>;

fn main() -> ExitCode {
    // wgpu calls each driver that it passes over an error; RUST_LOG=error shows them.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,wgpu_hal=off")).init();
    match report(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Where even this cannot be written, the exit code says it.
            let _ = writeln!(stderr(), "error: {}", explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Prints a row for every adapter; returns whether all of them opened and computed rightly.
fn report(Arguments { device, precision, timeout, json }: Arguments) -> Result<bool, Box<dyn Error>> {
    let adapters = match device {
        None => device::list(),
        Some(spec) => vec![device::find(&spec)?],
    };
    if adapters.is_empty() {
        // An error that says what to install.
        device::find(&DeviceSpec::Auto)?;
    }
    // What a driver panics with belongs in its row.
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = stdout().lock();
    if !json {
        writeln!(out, "self-test: the logits of a tiny T5 in {precision} against those of transformers\n")?;
        row(&mut out, ["device", "kind", "api", "memory", "buffer", "self-test", "name, driver, number types"])?;
    }
    let mut all_ok = true;
    // One at a time: drivers do not all bear being opened side by side.
    for adapter in adapters {
        let outcome = try_out(&adapter, precision, Duration::from_secs(timeout));
        let capabilities = outcome.as_ref().ok().map(|(accelerator, _)| &accelerator.capabilities);
        let error = outcome.as_ref().ok().map(|(_, error)| *error);
        let limit = tolerance(adapter.platform, precision);
        let failure = match &outcome {
            Ok((_, error)) if *error <= limit => None,
            Ok((_, error)) => Some(format!("a logit is off by {error:.0e}, and rounding accounts for {limit:.0e}")),
            Err(failure) => Some(failure.clone()),
        };
        all_ok &= failure.is_none();
        if json {
            let line = json!({ "adapter": adapter, "capabilities": capabilities, "ok": failure.is_none(),
                "error": error, "tolerance": limit, "failure": failure });
            writeln!(out, "{line}")?;
            continue;
        }
        let verdict = match error {
            Some(error) if failure.is_none() => format!("ok, {error:.0e}"),
            Some(_) => "WRONG".to_owned(),
            None => "FAILED".to_owned(),
        };
        let size =
            |bytes: Option<u64>| bytes.map_or("?".into(), |bytes| format!("{:.1} GiB", bytes as f64 / 1073741824.0));
        let memory = size(capabilities.and_then(|it| it.memory_bytes));
        let buffer = size(capabilities.and_then(|it| it.largest_buffer_bytes));
        let dtypes = capabilities.map(|it| it.dtype_names()).unwrap_or_default();
        let Adapter { name, kind, api, driver, spec, .. } = &adapter;
        let last = [name, driver, &dtypes].map(String::as_str).into_iter().filter(|text| !text.is_empty());
        let last = last.collect::<Vec<_>>().join("; ");
        row(&mut out, [&spec.to_string(), kind.as_str(), api, &memory, &buffer, &verdict, &last])?;
        if let Some(failure) = failure {
            writeln!(out, "    {failure}")?;
        }
    }
    Ok(all_ok)
}

fn row(out: &mut impl Write, [device, kind, api, memory, buffer, verdict, rest]: [&str; 7]) -> std::io::Result<()> {
    writeln!(out, "{device:20} {kind:10} {api:7} {memory:>10} {buffer:>10}  {verdict:13} {rest}")
}

/// Opens and tests an adapter on a thread of its own, which is left behind where the driver does not come back.
fn try_out(adapter: &Adapter, precision: Precision, limit: Duration) -> Outcome {
    let (sender, receiver) = channel();
    let spec = adapter.spec;
    let thread = std::thread::spawn(move || {
        let test = || -> Result<_, Box<dyn Error>> {
            let accelerator = device::open_with(&spec, precision)?;
            let error = self_test(&accelerator.device)?;
            Ok((accelerator, error))
        };
        // After the limit nobody listens.
        let _ = sender.send(test().map_err(|error| explain(error.as_ref())));
    });
    receiver.recv_timeout(limit).unwrap_or_else(|missing| match (missing, thread) {
        (RecvTimeoutError::Timeout, _) => {
            Err(format!("no answer within {} s; --timeout gives it longer", limit.as_secs()))
        }
        (RecvTimeoutError::Disconnected, thread) => {
            let panic =
                thread.join().map_or_else(|payload| Panicked::new(payload.as_ref()).message, |()| String::new());
            Err(format!("the self-test panicked: {panic}"))
        }
    })
}

/// A tiny T5 of random weights.
const MODEL: Checkpoint<'static> = Checkpoint {
    origin: "the golden T5",
    config: include_str!("../assets/golden/t5/v1.1/config.json"),
    weights: include_bytes!("../assets/golden/t5/v1.1/model.safetensors"),
};

/// What transformers computes with it, on a CPU in f32.
const GOLDEN: &str = include_str!("../assets/golden/t5/v1.1/golden.json");

#[derive(Deserialize)]
struct Golden {
    input_ids: Vec<Vec<u32>>,
    attention_mask: Vec<Vec<usize>>,
    decoder_input_ids: Vec<Vec<u32>>,
    logits: Vec<Vec<Vec<f64>>>,
}

/// Reads three prompts of unequal length and continues each token by token, as decoding does; returns the largest
/// difference of a logit to the golden one.
fn self_test(device: &Device) -> Result<f64, Box<dyn Error>> {
    let golden: Golden = serde_json::from_str(GOLDEN)?;
    let model = Pretrained::from_checkpoint(MODEL, device)?;
    let lengths = golden.attention_mask.iter().map(|mask| mask.iter().sum::<usize>());
    let prompts: Vec<&[u32]> = golden.input_ids.iter().zip(lengths).map(|(row, length)| &row[..length]).collect();
    let steps = golden.decoder_input_ids[0].len();
    let mut context = model.prefill(&TokenBatch::new(&prompts, model.spec().pad), steps);
    let mut largest: f64 = 0.0;
    for step in 0..steps {
        let tokens: Vec<u32> = golden.decoder_input_ids.iter().map(|row| row[step]).collect();
        let logits = model.forward(&TokenBatch::column(&tokens), &mut context).logits.into_data();
        let expected = golden.logits.iter().flat_map(|row| &row[step]);
        for (logit, expected) in logits.iter::<f64>().zip(expected) {
            let difference = (logit - expected).abs();
            largest = if difference.is_nan() { f64::INFINITY } else { largest.max(difference) };
        }
    }
    Ok(largest)
}

/// The rounding that a precision accounts for, in logits of up to 9. Measured are 2e-5 in f32, 7e-2 in f16 and 4e-1 in
/// bf16; a kernel that computes something else is off by about 10.
fn tolerance(platform: PlatformName, precision: Precision) -> f64 {
    match precision {
        // Tensor cores multiply in TF32, which has the fraction of f16.
        Precision::F32 if platform == PlatformName::Cuda => 0.2,
        Precision::F32 => 1e-4,
        Precision::F16 | Precision::Flex32 => 0.2,
        Precision::BF16 => 1.6,
    }
}
