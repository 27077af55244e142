//! Rotary position embeddings.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde_json::{Map, Value};

use crate::LmError;
use crate::config::unsupported;

/// Rotary position embeddings (Su et al. 2021, arXiv 2104.09864), in the layout of Hugging Face's library: dimension `i`
/// of a head is rotated together with dimension `i + d_head / 2`.
#[derive(Clone, Debug)]
pub(crate) struct Rotary {
    /// The angle per position of each pair of dimensions, radians.
    frequencies: Vec<f32>,
    /// Multiplies queries and keys.
    scale: f32,
}

/// The parameters of scaled embeddings that are read, by `rope_type`.
const DEFAULT: &[&str] = &[];
const LINEAR: &[&str] = &["factor"];
const LLAMA3: &[&str] = &["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"];
const YARN: &[&str] = &[
    "factor",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "original_max_position_embeddings",
    "truncate",
];

impl Rotary {
    /// Embeddings for heads of the width `d_head`. `parameters` is Hugging Face's `rope_parameters` or `rope_scaling`,
    /// `theta` is the base if the parameters have none, and `max_positions` is `max_position_embeddings`.
    ///
    /// # Errors
    /// [`LmError::Unsupported`] with the parameter that is missing, invalid or not supported.
    pub(crate) fn new(
        d_head: usize,
        theta: f64,
        parameters: &Map<String, Value>,
        max_positions: usize,
        origin: &str,
    ) -> Result<Self, LmError> {
        let invalid = |name: &str, supported| {
            let value = parameters.get(name).unwrap_or(&Value::Null);
            unsupported(origin, &format!("rope_parameters.{name}"), value, supported)
        };
        let kind = ["rope_type", "type"].iter().find_map(|name| parameters.get(*name)?.as_str()).unwrap_or("default");
        let known = match kind {
            "default" => DEFAULT,
            "linear" => LINEAR,
            "llama3" => LLAMA3,
            "yarn" => YARN,
            _ => return Err(invalid("rope_type", "default, linear, llama3 and yarn")),
        };
        for (name, value) in parameters {
            let is_common = ["rope_type", "type", "rope_theta"].contains(&name.as_str());
            let is_one = name == "partial_rotary_factor" && value.as_f64() == Some(1.0);
            if !(is_common || is_one || value.is_null() || known.contains(&name.as_str())) {
                return Err(invalid(name, "the parameters of this rope_type, and no others"));
            }
        }
        let number = |name: &str| parameters.get(name).and_then(Value::as_f64);
        let positive = |name: &str| match number(name) {
            Some(number) if number > 0.0 => Ok(number),
            _ => Err(invalid(name, "a number above 0")),
        };
        if !d_head.is_multiple_of(2) {
            return Err(unsupported(origin, "head_dim", &d_head, "an even number"));
        }
        let theta = number("rope_theta").unwrap_or(theta);
        if theta <= 0.0 {
            return Err(unsupported(origin, "rope_theta", &theta, "a number above 0"));
        }
        let plain: Vec<f64> = (0..d_head / 2).map(|pair| theta.powf(-(2.0 * pair as f64) / d_head as f64)).collect();
        let original = number("original_max_position_embeddings").unwrap_or(max_positions as f64);
        let (frequencies, scale) = match kind {
            "linear" => {
                let factor = positive("factor")?;
                (plain.iter().map(|frequency| frequency / factor).collect(), 1.0)
            }
            "llama3" => {
                let [factor, low, high] =
                    [positive("factor")?, positive("low_freq_factor")?, positive("high_freq_factor")?];
                if low >= high {
                    return Err(invalid("low_freq_factor", "a number below high_freq_factor"));
                }
                (plain.iter().map(|&frequency| llama3(frequency, factor, [low, high], original)).collect(), 1.0)
            }
            "yarn" => {
                let factor = match number("factor") {
                    None => max_positions as f64 / original,
                    Some(_) => positive("factor")?,
                };
                let optional = |name: &str, default| number(name).filter(|number| *number != 0.0).unwrap_or(default);
                let bounds = [optional("beta_fast", 32.0), optional("beta_slow", 1.0)];
                let truncate = parameters.get("truncate").and_then(Value::as_bool).unwrap_or(true);
                let share = yarn_range(d_head, theta, original, bounds, truncate);
                let scale =
                    number("attention_factor").unwrap_or_else(|| match (number("mscale"), number("mscale_all_dim")) {
                        (Some(some), Some(all)) if some != 0.0 && all != 0.0 => {
                            yarn_scale(factor, some) / yarn_scale(factor, all)
                        }
                        _ => yarn_scale(factor, 1.0),
                    });
                let interpolate = |(pair, frequency): (usize, &f64)| {
                    let ramp = ((pair as f64 - share[0]) / (share[1] - share[0])).clamp(0.0, 1.0);
                    frequency / factor * ramp + frequency * (1.0 - ramp)
                };
                (plain.iter().enumerate().map(interpolate).collect(), scale)
            }
            _ => (plain, 1.0),
        };
        Ok(Self {
            frequencies: frequencies.into_iter().map(|frequency| frequency as f32).collect(),
            scale: scale as f32,
        })
    }

    /// The cosines and sines of the angles at the given positions, for [`rotate`].
    ///
    /// # Shapes
    /// `[positions, 1, d_head / 2]` each.
    pub(crate) fn angles(&self, positions: &[usize], device: &Device) -> [Tensor<3>; 2] {
        let first = positions.iter().copied().min().unwrap_or(0);
        let end = positions.iter().copied().max().map_or(0, |last| last + 1);
        let angles: Vec<f32> = (first..end)
            .flat_map(|position| self.frequencies.iter().map(move |frequency| position as f32 * frequency))
            .collect();
        let index: Vec<i32> = positions.iter().map(|position| (position - first) as i32).collect();
        let index = Tensor::<1, Int>::from_data(TensorData::new(index, [positions.len()]), device);
        [f32::cos, f32::sin].map(|function: fn(f32) -> f32| {
            let values: Vec<f32> = angles.iter().map(|angle| function(*angle) * self.scale).collect();
            let table = Tensor::<2>::from_data(TensorData::new(values, [end - first, self.frequencies.len()]), device);
            table.select(0, index.clone()).unsqueeze_dim(1)
        })
    }
}

/// Rotates queries or keys by their angles ([`Rotary::angles`]).
///
/// # Shapes
/// `[positions, heads, d_head]` to the same.
pub(crate) fn rotate(x: Tensor<3>, [cos, sin]: &[Tensor<3>; 2]) -> Tensor<3> {
    #[cfg(feature = "cpu")]
    if let Some(rotated) = wheels_cpu::rotate(&x, cos, sin) {
        return rotated;
    }
    let [positions, heads, width] = x.dims();
    let half = [positions, heads, width / 2];
    let (cos, sin) = (cos.clone().expand(half), sin.clone().expand(half));
    let (left, right) = (x.clone().narrow(2, 0, width / 2), x.narrow(2, width / 2, width / 2));
    let first = left.clone() * cos.clone() - right.clone() * sin.clone();
    Tensor::cat(vec![first, right * cos + left * sin], 2)
}

/// Llama 3's frequencies: long wavelengths are stretched by `factor`, short ones are kept, and those between the two
/// bounds are interpolated.
fn llama3(frequency: f64, factor: f64, [low, high]: [f64; 2], original: f64) -> f64 {
    let turns = original * frequency / std::f64::consts::TAU;
    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
    frequency * kept + frequency / factor * (1.0 - kept)
}

/// The pairs of dimensions between which YaRN (Peng et al. 2023, arXiv 2309.00071) goes over from kept to interpolated
/// frequencies. `bounds` are the numbers of turns within the original length at which that begins and ends.
fn yarn_range(d_head: usize, theta: f64, original: f64, bounds: [f64; 2], truncate: bool) -> [f64; 2] {
    let pair = |turns: f64| d_head as f64 * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * theta.ln());
    let [mut first, mut last] = bounds.map(pair);
    if truncate {
        (first, last) = (first.floor(), last.ceil());
    }
    let (first, last) = (first.max(0.0), last.min(d_head as f64 - 1.0));
    [first, if first == last { last + 0.001 } else { last }]
}

/// The factor by which YaRN scales queries and keys.
fn yarn_scale(factor: f64, weight: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 }
}
