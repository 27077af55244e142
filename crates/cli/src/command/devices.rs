//! `wheels devices`: the devices that this build can use, and whether they compute correctly.

use std::error::Error;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use serde::Deserialize;
use serde_json::json;
use training_wheels::device::{self, Accelerator, Adapter, Capabilities, DeviceSpec, DriverPanic, PlatformName};
use training_wheels::lm::{LanguageModel, Pretrained, TokenBatch, WeightFormat};
use training_wheels::prelude::Seed;
use training_wheels::report;
use wheels_lm::Checkpoint;

use super::Outcome;
use crate::command_line::App;
use crate::screen::Output;

const EXAMPLES: &str = "\
Examples:
  wheels devices
  wheels devices --device wgpu:cpu --json

The exit code is 1 if a device does not open, computes wrongly or does not answer in time.";

/// Lists the devices that this build can use, and tests them.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Test only this device ("cpu", "cuda:1", "wgpu:cpu", ...).
    #[arg(long)]
    device: Option<DeviceSpec>,
    /// The format of the model's matrices: f32, f16 or bf16.
    #[arg(long, default_value_t)]
    dtype: WeightFormat,
    /// The seconds after which the test of an adapter counts as failed. A GPU must first compile its kernels.
    #[arg(long, default_value_t = 120)]
    timeout: u64,
}

/// The open device and the largest error of a logit in its self-test, or an error message.
type TestResult = Result<(Accelerator, f64), String>;

/// Tests the adapters and prints a row for each.
pub(crate) fn run(&Flags { device, dtype, timeout }: &Flags, app: &App) -> Outcome {
    let output = app.output;
    let adapters = match device {
        None => device::list(),
        Some(spec) => vec![device::find(&spec)?],
    };
    if adapters.is_empty() {
        // It returns an error, which says what to install.
        device::find(&DeviceSpec::Auto)?;
    }
    // The message of a panic goes into the row of its adapter.
    std::panic::set_hook(Box::new(|_| {}));
    output.line(format_args!(
        "self-test in {dtype}: matrix products, and the logits of a tiny T5 against those of transformers\n"
    ))?;
    print_row(output, ["device", "kind", "api", "memory", "buffer", "self-test", "name, driver, number types"])?;
    let (mut tested, mut failed) = (0, 0);
    // One adapter is tested at a time, because some drivers fail if several are opened at once.
    for adapter in adapters {
        let result = test_adapter(&adapter, dtype, Duration::from_secs(timeout));
        let capabilities = result.as_ref().ok().map(|(accelerator, _)| &accelerator.capabilities);
        let error = result.as_ref().ok().map(|(_, error)| *error);
        let limit = tolerance(adapter.platform, dtype);
        let failure = match &result {
            Ok((_, error)) if *error <= limit => None,
            Ok((_, error)) => {
                Some(format!("the largest error of a logit is {error:.0e}; rounding explains at most {limit:.0e}"))
            }
            Err(failure) => Some(failure.clone()),
        };
        tested += 1;
        failed += usize::from(failure.is_some());
        output.json(&json!({ "adapter": adapter, "capabilities": capabilities, "ok": failure.is_none(),
            "error": error, "tolerance": limit, "failure": failure }))?;
        let verdict = match error {
            Some(error) if failure.is_none() => format!("ok, {error:.0e}"),
            Some(_) => "WRONG".to_owned(),
            None => "FAILED".to_owned(),
        };
        let size =
            |bytes: Option<u64>| bytes.map_or("?".into(), |bytes| format!("{:.1} GiB", bytes as f64 / 1073741824.0));
        let memory = size(capabilities.and_then(|capabilities| capabilities.memory_bytes));
        let buffer = size(capabilities.and_then(|capabilities| capabilities.largest_buffer_bytes));
        let dtypes = capabilities.map(Capabilities::dtype_names).unwrap_or_default();
        let Adapter { name, kind, api, driver, spec, .. } = &adapter;
        let details = [name, driver, &dtypes].map(String::as_str).into_iter().filter(|text| !text.is_empty());
        let details = details.collect::<Vec<_>>().join("; ");
        print_row(output, [&spec.to_string(), kind.as_str(), api, &memory, &buffer, &verdict, &details])?;
        if let Some(failure) = failure {
            output.line(format_args!("    {failure}"))?;
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} of {tested} devices failed their self-test: see above").into()),
    }
}

fn print_row(output: Output, [device, kind, api, memory, buffer, verdict, details]: [&str; 7]) -> io::Result<()> {
    output.line(format_args!("{device:20} {kind:10} {api:7} {memory:>10} {buffer:>10}  {verdict:13} {details}"))
}

/// Opens and tests an adapter on a thread of its own. If the driver does not return in time, the thread is left behind.
fn test_adapter(adapter: &Adapter, dtype: WeightFormat, limit: Duration) -> TestResult {
    let (sender, receiver) = channel();
    let spec = adapter.spec;
    let thread = std::thread::spawn(move || {
        let result = open_and_test(&spec, dtype).map_err(|error| report(error.as_ref()));
        // After the limit nobody receives the result.
        let _ = sender.send(result);
    });
    receiver.recv_timeout(limit).unwrap_or_else(|missing| match (missing, thread) {
        (RecvTimeoutError::Timeout, _) => {
            Err(format!("no answer within {} s; a larger --timeout may help", limit.as_secs()))
        }
        (RecvTimeoutError::Disconnected, thread) => {
            let panic =
                thread.join().map_or_else(|payload| DriverPanic::new(payload.as_ref()).message, |()| String::new());
            Err(format!("the self-test panicked: {panic}"))
        }
    })
}

fn open_and_test(spec: &DeviceSpec, dtype: WeightFormat) -> Result<(Accelerator, f64), Box<dyn Error>> {
    let accelerator = device::open(spec)?;
    check_products(&accelerator.device)?;
    let error = self_test((&accelerator.device, dtype))?;
    Ok((accelerator, error))
}

/// A tiny T5 with random weights.
const MODEL: Checkpoint<'static> = Checkpoint {
    origin: "the golden T5",
    config: include_str!("../../../../assets/golden/t5/v1.1/config.json"),
    weights: include_bytes!("../../../../assets/golden/t5/v1.1/model.safetensors"),
};

/// The inputs of that T5 and the logits that transformers computes for them, on a CPU in f32.
const GOLDEN: &str = include_str!("../../../../assets/golden/t5/v1.1/golden.json");

#[derive(Deserialize)]
struct Golden {
    input_ids: Vec<Vec<u32>>,
    attention_mask: Vec<Vec<usize>>,
    decoder_input_ids: Vec<Vec<u32>>,
    logits: Vec<Vec<Vec<f64>>>,
}

/// Reads three prompts of different lengths and their continuations token by token, as decoding does. Returns the
/// largest difference between a logit and its golden value.
fn self_test(options: (&Device, WeightFormat)) -> Result<f64, Box<dyn Error>> {
    let golden: Golden = serde_json::from_str(GOLDEN)?;
    let model = Pretrained::from_checkpoint(MODEL, options)?;
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

/// Products `[batch, rows, inner]` x `[batch, inner, columns]` to check: one row, one column, and shapes that drivers have
/// computed wrongly (tracel-ai/burn issues 4355, 4907 and 4966).
const PRODUCTS: [[usize; 4]; 6] =
    [[1, 1, 576, 1536], [1, 37, 5, 1], [1, 257, 384, 1152], [1, 500, 64, 192], [1, 1024, 64, 64], [8, 512, 512, 32]];

/// Computes [`PRODUCTS`] of random numbers from -1, 0 and 1. Every precision represents the results exactly, so they
/// must equal those of integers. The right factors are in burn's layout, and then transposed views as in linear layers.
fn check_products(device: &Device) -> Result<(), Box<dyn Error>> {
    for shape in PRODUCTS {
        let [batch, rows, inner, columns] = shape;
        let mut rng = Seed(inner as u64).rng();
        let mut numbers = |count: usize| (0..count).map(|_| rng.random_range(-1..=1)).collect::<Vec<i32>>();
        let (left, right) = (numbers(batch * rows * inner), numbers(batch * columns * inner));
        let mut expected = Vec::with_capacity(batch * rows * columns);
        for row in 0..batch * rows {
            let row_numbers = &left[row * inner..][..inner];
            for column in 0..columns {
                let column_numbers = &right[(row / rows * columns + column) * inner..][..inner];
                expected.push(row_numbers.iter().zip(column_numbers).map(|(a, b)| a * b).sum::<i32>());
            }
        }
        let tensor = |values: Vec<i32>, shape: [usize; 4]| {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            Tensor::<4>::from_data(TensorData::new(values, shape), device)
        };
        let left = tensor(left, [1, batch, rows, inner]);
        let transposed = tensor(right, [1, batch, columns, inner]).swap_dims(2, 3);
        // A copy of the view with zeros added lies in burn's layout.
        let plain = transposed.clone() + Tensor::zeros([1, batch, inner, columns], device);
        for (right, layout) in [(plain, "[in, out]"), (transposed, "[out, in]")] {
            let product = left.clone().matmul(right).into_data();
            if !product.iter::<f32>().eq(expected.iter().map(|&value| value as f32)) {
                let shape = format!("[{batch}, {rows}, {inner}] x [{batch}, {inner}, {columns}], weights {layout}");
                return Err(format!("the matrix product {shape}, is wrong: update the driver").into());
            }
        }
    }
    Ok(())
}

/// The largest error of a logit that rounding explains, for logits of up to 9. The measured errors are 2e-5 in f32,
/// 7e-2 in f16, 4e-1 in bf16 and 1e-1 in int8. A kernel that computes something else has an error of about 10.
fn tolerance(platform: PlatformName, dtype: WeightFormat) -> f64 {
    match dtype {
        // Tensor cores multiply in TF32, whose fraction has as many bits as that of f16.
        WeightFormat::F32 if platform == PlatformName::Cuda => 0.2,
        WeightFormat::F32 => 1e-4,
        WeightFormat::F16 => 0.2,
        WeightFormat::BF16 | WeightFormat::Int8 => 1.6,
    }
}
