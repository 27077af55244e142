//! Normalisation layers, with the parameter names of Hugging Face's files.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor};

/// `x / sqrt(mean(x^2) + epsilon) * weight` (Zhang and Sennrich 2019, arXiv 1910.07467), computed in f32.
#[derive(Module, Debug)]
pub(crate) struct RmsNorm {
    /// `[width]`.
    weight: Param<Tensor<1>>,
    epsilon: f64,
}

impl RmsNorm {
    /// A norm with the weights 1.
    pub(crate) fn init(width: usize, epsilon: f64, device: &Device) -> Self {
        Self { weight: Initializer::Ones.init([width], device), epsilon }
    }

    /// Normalises the last dimension.
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        #[cfg(feature = "cpu")]
        if let Some(y) = wheels_cpu::rms_norm(&x, &self.weight.val(), self.epsilon) {
            return y;
        }
        let dtype = x.dtype();
        let x = single(x);
        let scale = x.clone().square().mean_dim(D - 1).add_scalar(self.epsilon).sqrt();
        (x / scale * single(self.weight.val()).unsqueeze()).cast(dtype)
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` (Ba et al. 2016, arXiv 1607.06450), computed in f32.
#[derive(Module, Debug)]
pub(crate) struct LayerNorm {
    /// `[width]`.
    weight: Param<Tensor<1>>,
    /// `[width]`.
    bias: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    /// A norm with the weights 1 and the bias 0.
    pub(crate) fn init(width: usize, epsilon: f64, device: &Device) -> Self {
        let (weight, bias) = (Initializer::Ones.init([width], device), Initializer::Zeros.init([width], device));
        Self { weight, bias, epsilon }
    }

    /// Normalises the last dimension.
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        #[cfg(feature = "cpu")]
        if let Some(y) = wheels_cpu::layer_norm(&x, &self.weight.val(), &self.bias.val(), self.epsilon) {
            return y;
        }
        let dtype = x.dtype();
        let x = single(x);
        let centred = x.clone() - x.mean_dim(D - 1);
        let scale = centred.clone().square().mean_dim(D - 1).add_scalar(self.epsilon).sqrt();
        let weight = single(self.weight.val()).unsqueeze();
        (centred / scale * weight + single(self.bias.val()).unsqueeze()).cast(dtype)
    }
}

/// A tensor in at least single precision. Squares of larger numbers than 255 overflow in f16.
fn single<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.cast(FloatDType::F32),
        _ => x,
    }
}
