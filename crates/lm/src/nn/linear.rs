//! Linear layers and embedding tables, with weights laid out as in Hugging Face's files.

use burn::module::{Initializer, LoraAdapter, Module, Param};
use burn::tensor::{DType, Device, Int, Tensor};

use super::Dropout;
use crate::weights::float_dtype;

/// `x W^T + b`. The weights lie as PyTorch and Hugging Face store them, so they are loaded and saved without a transpose.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    /// `[outputs, inputs]`.
    pub(crate) weight: Param<Tensor<2>>,
    /// `[outputs]`.
    pub(crate) bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer without bias. Its weights are drawn from a normal distribution when they are first read.
    pub(crate) fn init(inputs: usize, outputs: usize, std: f64, device: &Device) -> Self {
        Self { weight: Initializer::Normal { mean: 0.0, std }.init([outputs, inputs], device), bias: None }
    }

    /// The same layer with a bias of 0, if `bias` is true.
    pub(crate) fn with_bias(self, bias: bool, device: &Device) -> Self {
        let [outputs, _] = self.weight.lazy_shape().dims();
        Self { bias: bias.then(|| Initializer::Zeros.init([outputs], device)), ..self }
    }

    /// The layer with `missing` more outputs, each of which has the mean of the weights of the others.
    ///
    /// # Panics
    /// If the layer has a bias.
    pub(crate) fn grow(self, missing: usize) -> Self {
        assert!(self.bias.is_none(), "output heads have no bias");
        Self { weight: self.weight.map(|weight| grow(weight, missing)), ..self }
    }

    /// Applies the layer to each position. If the weight has an adapter, its output is added. In training, `dropout` drops
    /// values of the adapter's input.
    ///
    /// # Shapes
    /// `[positions, inputs]` to `[positions, outputs]`.
    pub(crate) fn forward(&self, x: Tensor<2>, dropout: &mut Dropout) -> Tensor<2> {
        let y = match self.weight.adapter() {
            Some(adapter) => product(x.clone(), &self.weight) + low_rank(dropout.apply_to_adapter(x), adapter),
            None => product(x, &self.weight),
        };
        self.add_bias(y)
    }

    fn add_bias(&self, y: Tensor<2>) -> Tensor<2> {
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        }
    }
}

/// Applies several layers to the same positions. A CPU computes their products together.
///
/// # Shapes
/// `[positions, inputs]` to `[positions, outputs]` of each layer.
pub(crate) fn forward_all<const N: usize>(layers: [&Linear; N], x: Tensor<2>, dropout: &mut Dropout) -> [Tensor<2>; N] {
    #[cfg(feature = "cpu")]
    if layers.iter().all(|layer| layer.weight.adapter().is_none())
        && let Some(products) = wheels_cpu::linears(&x, layers.map(|layer| &*layer.weight))
    {
        let mut layers = layers.into_iter();
        return products.map(|y| layers.next().expect("one product for each layer").add_bias(y));
    }
    layers.map(|layer| layer.forward(x.clone(), dropout))
}

/// `scale x (a b)^T` for the factors of an adapter, without the product of the factors, which is as large as the weights.
///
/// # Shapes
/// `[positions, inputs]` to `[positions, outputs]`.
fn low_rank(x: Tensor<2>, adapter: &LoraAdapter) -> Tensor<2> {
    product(product(x, &adapter.b), &adapter.a) * adapter.scale
}

/// `x W^T` for weights `[outputs, inputs]`. If the weights have another number format than `x`, a CPU widens them as it reads
/// them, and other devices compute the product in the format of the weights. The result has the format of `x`.
///
/// # Shapes
/// `[positions, inputs]` to `[positions, outputs]`.
pub(crate) fn product(x: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if let Some(y) = wheels_cpu::linear(&x, weight) {
        return y;
    }
    let dtype = x.dtype();
    if matches!(weight.dtype(), DType::QFloat(_)) {
        return product(x, &weight.clone().dequantize());
    }
    if dtype != weight.dtype() {
        return product(x.cast(weight.dtype()), weight).cast(dtype);
    }
    let [positions, _] = x.dims();
    if (2..=FEW_POSITIONS).contains(&positions) {
        // The right factor is the one that burn's CPU backend copies, so that should be the small one.
        return weight.clone().matmul(x.transpose()).transpose();
    }
    x.matmul(weight.clone().transpose())
}

/// Up to this number of positions, the weights are the left factor of a product.
const FEW_POSITIONS: usize = 64;

/// A table of embeddings.
#[derive(Module, Debug)]
pub(crate) struct Embedding {
    /// `[tokens, width]`.
    pub(crate) weight: Param<Tensor<2>>,
}

impl Embedding {
    /// A table drawn from a normal distribution when it is first read.
    pub(crate) fn init(tokens: usize, width: usize, std: f64, device: &Device) -> Self {
        Self { weight: Initializer::Normal { mean: 0.0, std }.init([tokens, width], device) }
    }

    /// The embeddings of `ids`, row after row.
    ///
    /// # Shapes
    /// `[rows, time]` to `[rows * time, width]`.
    pub(crate) fn forward(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        let rows = self.weight.val().select(0, ids.flatten(0, 1));
        let dtype = float_dtype(&rows.device());
        // Weights in 16 bits give activations in the float type of the device.
        if rows.dtype() == dtype { rows } else { rows.cast(dtype) }
    }

    /// The table with `missing` more rows, each of which is the mean of the others.
    pub(crate) fn grow(self, missing: usize) -> Self {
        Self { weight: self.weight.map(|weight| grow(weight, missing)) }
    }
}

/// The first `count` rows of a matrix.
pub(crate) fn first_rows(weight: Tensor<2>, count: usize) -> Tensor<2> {
    if weight.dims()[0] == count { weight } else { weight.narrow(0, 0, count) }
}

/// A matrix with `missing` more rows, each of which is the mean of the others. If the matrix is trained, so is the result.
pub(crate) fn grow(weight: Tensor<2>, missing: usize) -> Tensor<2> {
    let trained = weight.is_require_grad();
    let mean = weight.clone().mean_dim(0);
    Tensor::cat(vec![weight, mean.repeat_dim(0, missing)], 0).detach().set_require_grad(trained)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Distribution, Tolerance};

    use super::*;

    #[test]
    fn a_grown_table_is_still_trained() {
        let table = Embedding::init(3, 2, 1.0, &Device::flex().autodiff());
        assert!(table.weight.val().is_require_grad());
        let grown = table.grow(1).weight;
        assert_eq!((grown.val().dims(), grown.val().is_require_grad()), ([4, 2], true));
    }

    #[test]
    fn layers_that_are_applied_together_give_what_each_gives() {
        let device = Device::flex();
        let layers = [3, 5].map(|outputs| {
            let bias = Param::from_tensor(Tensor::random([outputs], Distribution::Normal(0.0, 1.0), &device));
            Linear { bias: (outputs == 5).then_some(bias), ..Linear::init(4, outputs, 1.0, &device) }
        });
        let x = Tensor::<2>::random([2, 4], Distribution::Normal(0.0, 1.0), &device);
        let mut dropout = Dropout::new(None, 0);
        let found = forward_all(layers.each_ref(), x.clone(), &mut dropout);
        for (found, layer) in found.into_iter().zip(&layers) {
            assert_eq!(found.into_data(), layer.forward(x.clone(), &mut dropout).into_data());
        }
    }

    #[test]
    fn the_form_of_the_product_does_not_change_its_values() {
        let device = Device::flex();
        let weight = Tensor::<2>::random([5, 3], Distribution::Normal(0.0, 1.0), &device);
        let x = Tensor::<2>::random([FEW_POSITIONS + 1, 3], Distribution::Normal(0.0, 1.0), &device);
        let whole = product(x.clone(), &weight);
        for positions in [1, 2, FEW_POSITIONS] {
            let part = product(x.clone().narrow(0, 0, positions), &weight);
            part.into_data()
                .assert_approx_eq::<f32>(&whole.clone().narrow(0, 0, positions).into_data(), Tolerance::absolute(1e-5));
        }
        let half = product(x, &weight.cast(DType::F16));
        assert_eq!(half.dtype(), DType::F32);
        half.into_data().assert_approx_eq::<f32>(&whole.into_data(), Tolerance::absolute(2e-2));
    }
}
