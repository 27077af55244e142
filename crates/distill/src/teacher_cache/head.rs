//! The output head of a teacher whose hidden states are cached.

use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use wheels_lm::{Hidden, LanguageModel};

use super::columns::Column;
use super::manifest::write;
use super::{CacheFile, CacheManifest};
use crate::{DistillError, HiddenData};

const FILE: &str = "head.safetensors";
const WEIGHT: &str = "weight";
const BIAS: &str = "bias";

/// The largest difference between the logits of a teacher and of its linear head, as a fraction of the largest logit.
/// Matrix products round apart by about 0.001 on devices with TF32.
const TOLERANCE: f32 = 0.01;

/// An output head: the logits are linear in the hidden states.
#[derive(Debug)]
pub(super) struct CachedHead {
    /// `[vocab, d_model]`.
    weight: Tensor<2>,
    /// `[1, vocab]`.
    bias: Tensor<2>,
}

impl CachedHead {
    /// The head of a teacher, from what it computes for the axes of its hidden states. `sample` has hidden states of the
    /// teacher, for which both must compute the same.
    ///
    /// # Errors
    /// [`DistillError::CacheContent`] if the teacher's head is not linear in the hidden states.
    pub(super) fn of<T: LanguageModel>(teacher: &T, sample: &Hidden) -> Result<Self, DistillError> {
        let refused = |why: &str| DistillError::CacheContent {
            reason: format!("its hidden states are not enough, because {why}: keep the top k instead"),
        };
        if sample.features().is_some() {
            return Err(refused("it has a head that asks for help"));
        }
        let states = sample.states();
        let [_, d_model] = states.dims();
        let axes = Tensor::<2>::eye(d_model, &states.device()).cast(states.dtype());
        let origin = Tensor::<2>::zeros([1, d_model], &states.device()).cast(states.dtype());
        let bias = teacher.head(&Hidden::new(origin)).cast(DType::F32);
        let weight = teacher.head(&Hidden::new(axes)).cast(DType::F32) - bias.clone();
        let head = Self { weight: weight.transpose(), bias };
        let expected = teacher.head(sample).cast(DType::F32);
        let difference = (head.logits_of(states) - expected.clone()).abs().max().into_scalar::<f32>();
        let largest = expected.abs().max().into_scalar::<f32>();
        if difference.is_finite() && difference <= TOLERANCE * largest.max(1.0) {
            Ok(head)
        } else {
            Err(refused("its output head is not linear"))
        }
    }

    /// Writes the head into the folder of a cache.
    ///
    /// # Errors
    /// [`DistillError::CacheContent`] if a weight is too large for f16, and [`DistillError::Io`].
    pub(super) fn save(&self, folder: &Path, manifest: &CacheManifest) -> Result<CacheFile, DistillError> {
        let column = Column { name: WEIGHT, dtype: manifest.float(), width: 1 };
        let [weight, bias] = [&self.weight, &self.bias].map(|tensor| stored(tensor.to_data(), manifest.float()));
        let (weight, bias) = (weight?, bias?);
        let mut views = vec![];
        for (name, shape, bytes) in [(WEIGHT, self.weight.dims(), &weight), (BIAS, self.bias.dims(), &bias)] {
            let view = TensorView::new(column.stored(), shape.to_vec(), bytes).expect("the bytes have this shape");
            views.push((name, view));
        }
        let content = safetensors::serialize(views, None).expect("names and numbers are a file");
        write(&folder.join(FILE), &content)?;
        Ok(CacheFile::new(FILE.into(), [0, 0], &content))
    }

    /// Reads the head of a cache.
    ///
    /// # Errors
    /// [`DistillError::CacheFile`].
    pub(super) fn open(
        folder: &Path,
        file: &CacheFile,
        manifest: &CacheManifest,
        device: &Device,
    ) -> Result<Self, DistillError> {
        let content = file.read(folder)?;
        let damaged = |reason: String| DistillError::CacheFile { path: file.path(folder), reason };
        let tensors = SafeTensors::deserialize(&content).map_err(|error| damaged(error.to_string()))?;
        let column = Column { name: WEIGHT, dtype: manifest.float(), width: 1 };
        let read = |name: &str, shape: [usize; 2]| {
            let view = tensors.tensor(name).map_err(|error| damaged(error.to_string()))?;
            if view.shape() != shape || view.dtype() != column.stored() {
                return Err(damaged(format!("{name} has another shape or format")));
            }
            let data = TensorData::from_bytes_vec(view.data().to_vec(), shape, manifest.float());
            Ok(Tensor::<2>::from_data(data, device))
        };
        let &CacheManifest { vocab_size, d_model, .. } = manifest;
        Ok(Self { weight: read(WEIGHT, [vocab_size, d_model])?, bias: read(BIAS, [1, vocab_size])? })
    }

    /// The teacher's logits.
    ///
    /// # Shapes
    /// `[positions, d_model]` to `[positions, vocab]`.
    pub(super) fn logits(&self, hidden: &HiddenData) -> Tensor<2> {
        self.logits_of(hidden.hidden(&self.weight.device()).states())
    }

    fn logits_of(&self, states: Tensor<2>) -> Tensor<2> {
        states.cast(self.weight.dtype()).matmul(self.weight.clone().transpose()) + self.bias.clone()
    }
}

/// The bytes of some numbers in the format of a cache.
///
/// # Errors
/// [`DistillError::CacheContent`] if a number is not finite in this format.
pub(super) fn stored(data: TensorData, float: DType) -> Result<Vec<u8>, DistillError> {
    let data = data.convert_dtype(float);
    if data.iter::<f32>().all(f32::is_finite) {
        return Ok(data.as_bytes().to_vec());
    }
    let reason = match float {
        DType::F16 => "a number is not finite in f16: keep f32 (`half_precision` false)",
        _ => "it computes numbers that are not finite",
    };
    Err(DistillError::CacheContent { reason: reason.into() })
}
