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

use burn::tensor::{Int, Tensor, TensorData, activation::softmax};
use clap::Parser;
use serde_json::json;
use training_wheels::device::{self, Accelerator, Adapter, DeviceSpec, Precision};

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
    env_logger::init();
    match report(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Where even this cannot be written, the exit code says it.
            let _ = writeln!(stderr(), "error: {}", describe(error.as_ref()));
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
    // What a driver panics with belongs in its row.
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = stdout().lock();
    let limit = tolerance(precision);
    if !json {
        writeln!(out, "self-test: embedding, matmul, softmax in {precision} against f64, within {limit:.0e}\n")?;
        row(&mut out, ["device", "kind", "api", "memory", "buffer", "self-test", "name, driver, number types"])?;
    }
    let mut all_ok = true;
    // One at a time: drivers do not all bear being opened side by side.
    for adapter in adapters {
        let outcome = try_out(&adapter, precision, Duration::from_secs(timeout));
        let capabilities = outcome.as_ref().ok().map(|(accelerator, _)| &accelerator.capabilities);
        let error = outcome.as_ref().ok().map(|(_, error)| *error);
        let failure = outcome.as_ref().err();
        let ok = error.is_some_and(|error| error <= limit);
        all_ok &= ok;
        if json {
            let line = json!({ "adapter": adapter, "capabilities": capabilities, "ok": ok, "error": error,
                "failure": failure });
            writeln!(out, "{line}")?;
            continue;
        }
        let verdict = match error {
            Some(error) if ok => format!("ok, {error:.0e}"),
            Some(error) => format!("WRONG, {error:.0e}"),
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
    std::thread::spawn(move || {
        let tested = device::open_with(&spec, precision).map(|accelerator| {
            let error = self_test(&accelerator);
            (accelerator, error)
        });
        // After the limit nobody listens.
        let _ = sender.send(tested.map_err(|error| describe(&error)));
    });
    receiver.recv_timeout(limit).unwrap_or_else(|missing| match missing {
        RecvTimeoutError::Timeout => Err(format!("no answer within {} s; --timeout gives it longer", limit.as_secs())),
        RecvTimeoutError::Disconnected => Err("it panicked in its self-test".to_owned()),
    })
}

/// An error with its causes.
fn describe(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Embeds seven tokens, projects them onto a vocabulary and takes the softmax; returns the largest difference to the
/// same probabilities computed on the host in f64.
fn self_test(accelerator: &Accelerator) -> f64 {
    const WORDS: usize = 48;
    const WIDTH: usize = 64;
    let value = |i: usize| ((i * 37 + 11) % 61) as f64 / 64.0 - 0.5; // exact in every precision
    let projection = |k: usize, word: usize| value(7 + k * WORDS + word);
    let tokens = [3usize, 0, 47, 12, 12, 31, 8];

    let matrix = |shape: [usize; 2], at: &dyn Fn(usize, usize) -> f64| {
        let values = (0..shape[0] * shape[1]).map(|i| at(i / shape[1], i % shape[1]) as f32).collect::<Vec<_>>();
        Tensor::<2>::from_data(TensorData::new(values, shape), &accelerator.device)
    };
    let embedding = matrix([WORDS, WIDTH], &|word, k| value(word * WIDTH + k));
    let ids = Tensor::<1, Int>::from_data(TensorData::from(tokens.map(|token| token as i32)), &accelerator.device);
    let logits = embedding.select(0, ids).matmul(matrix([WIDTH, WORDS], &projection));
    let mut probabilities = softmax(logits, 1).into_data().convert::<f64>().try_into_vec::<f64>().into_iter().flatten();

    let mut largest: f64 = 0.0;
    for token in tokens {
        let logit = |word: usize| (0..WIDTH).map(|k| value(token * WIDTH + k) * projection(k, word)).sum::<f64>();
        let weights: Vec<f64> = (0..WORDS).map(|word| logit(word).exp()).collect();
        let total: f64 = weights.iter().sum();
        for weight in weights {
            let difference = (probabilities.next().unwrap_or(f64::INFINITY) - weight / total).abs();
            largest = if difference.is_nan() { f64::INFINITY } else { largest.max(difference) };
        }
    }
    largest
}

/// The difference between probabilities that a precision accounts for; f32 leaves room for GPUs that multiply in TF32.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-4,
        Precision::F16 | Precision::Flex32 => 1e-3,
        Precision::BF16 => 1e-2,
    }
}
