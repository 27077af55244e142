//! An MLP with one hidden layer, from which the heads are built.

use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// An MLP with one hidden layer and ReLU.
#[derive(Module, Debug)]
pub struct Mlp {
    inner: Linear,
    pub(crate) outer: Linear,
}

impl Mlp {
    /// A new one. Its output is 0 until it is trained.
    pub fn new(d_input: usize, hidden_width: usize, d_output: usize, device: &Device) -> Self {
        Self {
            inner: LinearConfig::new(d_input, hidden_width).init(device),
            outer: LinearConfig::new(hidden_width, d_output).with_initializer(Initializer::Zeros).init(device),
        }
    }

    /// A new one with the given weights of its first layer, `[d_input, hidden_width]`, and without bias. Its output is 0 until it
    /// is trained.
    pub fn with_first_layer(weight: Tensor<2>, d_output: usize) -> Self {
        let ([d_input, hidden_width], device) = (weight.dims(), weight.device());
        let zeros =
            |d_input, d_output| LinearConfig::new(d_input, d_output).with_initializer(Initializer::Zeros).init(&device);
        let mut network = Self { inner: zeros(d_input, hidden_width), outer: zeros(hidden_width, d_output) };
        network.inner.weight = network.inner.weight.map(|_| weight);
        network
    }

    /// The output for each row, `[rows, d_input]` to `[rows, d_output]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.outer.forward(relu(self.inner.forward(x)))
    }

    /// The width of the hidden layer.
    pub fn hidden_width(&self) -> usize {
        self.inner.weight.dims()[1]
    }

    /// The network that computes `forward((x - mean) projection)` from `x`, with the projection in its first layer.
    ///
    /// # Shapes
    /// `mean`: `[1, d]`; `projection`: `[d, d_input]`. The result reads `[rows, d]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[must_use]
    pub fn after_projection(mut self, mean: Tensor<2>, projection: Tensor<2>) -> Self {
        let weight = projection.matmul(self.inner.weight.val());
        let shift = mean.matmul(weight.clone()).squeeze_dim::<1>(0);
        self.inner.bias = self.inner.bias.map(|bias| bias.map(|bias| bias - shift));
        self.inner.weight = self.inner.weight.map(|_| weight);
        self
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn a_projection_becomes_a_part_of_the_first_layer() {
        let device = Device::flex();
        let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let mut network = Mlp::new(3, 8, 2, &device);
        network.outer = LinearConfig::new(8, 2).init(&device);
        let (x, mean, projection) = (random([5, 6]), random([1, 6]), random([6, 3]));
        let expected = network.forward((x.clone() - mean.clone()).matmul(projection.clone()));
        let found = network.after_projection(mean, projection).forward(x);
        let error = (found - expected).abs().max().into_scalar::<f32>();
        assert!(error < 1e-5, "{error}");
    }
}
