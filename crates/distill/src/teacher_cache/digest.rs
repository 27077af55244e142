//! SHA-256 of files, pairs and weights.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use sha2::{Digest, Sha256};

use crate::{DistillError, TokenPair, TokenPairs};

/// The digest of a pair: the first half of a SHA-256.
pub(super) type PairDigest = [u8; 16];

/// The SHA-256 of some bytes, in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(Sha256::new_with_prefix(bytes))
}

/// The digits of a digest.
pub(crate) fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of the token ids of a pair.
pub(super) fn pair_digest(pair: &TokenPair) -> PairDigest {
    let mut hash = Sha256::new();
    for side in [&pair.source, &pair.target] {
        hash.update((side.len() as u64).to_le_bytes());
        for id in side {
            hash.update(id.to_le_bytes());
        }
    }
    *hash.finalize().first_chunk().expect("a SHA-256 has 32 bytes")
}

/// The digests of all pairs, in order.
///
/// # Errors
/// If a pair cannot be read.
pub(super) fn pair_digests(pairs: &dyn TokenPairs) -> Result<Vec<PairDigest>, DistillError> {
    let mut digests = Vec::with_capacity(pairs.count());
    for index in 0..pairs.count() {
        digests.push(pair_digest(&*pairs.pair(index)?));
    }
    Ok(digests)
}

/// The SHA-256 of a model's weights, in hexadecimal digits. It does not depend on the file or the device that the weights
/// came from, if their numbers are the same.
pub fn weights_digest<M: Module>(model: &M) -> String {
    struct Weights(Sha256);
    impl ModuleVisitor for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.val().into_data().convert_dtype(DType::F32);
            for size in data.shape().iter() {
                self.0.update((*size as u64).to_le_bytes());
            }
            self.0.update(data.as_bytes());
        }
    }
    let mut weights = Weights(Sha256::new());
    model.visit(&mut weights);
    hexadecimal(weights.0)
}
