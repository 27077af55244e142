//! The norm of gradients, and gradients of another norm.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// The squared norm of all gradients together. It takes one read from the device.
pub(crate) fn square_norm<M: Module>(model: &M, gradients: &GradientsParams) -> f64 {
    struct Squares<'g> {
        gradients: &'g GradientsParams,
        on_device: Vec<Tensor<1>>,
        on_host: f64,
    }
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
            #[cfg(feature = "cpu")]
            if let Some(sum) = wheels_cpu::square_sum(&gradient) {
                self.on_host += sum;
                return;
            }
            self.on_device.push(gradient.square().sum());
        }
    }
    let mut squares = Squares { gradients, on_device: Vec::new(), on_host: 0.0 };
    model.visit(&mut squares);
    let Squares { on_device, on_host, .. } = squares;
    match on_device.is_empty() {
        true => on_host,
        false => on_host + Tensor::cat(on_device, 0).into_data().iter::<f64>().sum::<f64>(),
    }
}

/// All gradients, multiplied by `factor`.
pub(crate) fn scale<M: Module>(model: &M, gradients: GradientsParams, factor: f64) -> GradientsParams {
    struct Scale(GradientsParams, GradientsParams, f64);
    impl ModuleVisitor for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.1.register::<D>(param.id, gradient * self.2);
            }
        }
    }
    let mut scale = Scale(gradients, GradientsParams::new(), factor);
    model.visit(&mut scale);
    scale.1
}
