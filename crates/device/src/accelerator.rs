//! An open device and its capabilities.

use burn::tensor::{DType, Device};
use serde::{Serialize, Serializer};

use crate::Adapter;

/// The number types and the memory of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// The number types in which it computes. Types that it can only store are not listed.
    #[serde(serialize_with = "names")]
    pub dtypes: Vec<DType>,
    /// The size of the largest single buffer, bytes; `None` if unknown.
    pub largest_buffer_bytes: Option<u64>,
    /// The memory that a program may allocate, bytes; `None` if unknown.
    pub memory_bytes: Option<u64>,
    /// Whether the device shares its memory with the CPU; `None` if unknown.
    pub unified_memory: Option<bool>,
}

impl Capabilities {
    /// The number types of an open device. The caller adds the sizes of its memory.
    pub fn of(device: &Device) -> Self {
        use DType::{BF16, F16, F32, F64, Flex32, I8, I16, I32, I64, U8, U16, U32, U64};
        let all = [F64, F32, Flex32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8];
        let dtypes = all.into_iter().filter(|dtype| device.supports_dtype(*dtype)).collect();
        Self { dtypes, ..Self::default() }
    }

    /// Whether the device has memory for `bytes` bytes; true if its memory is unknown.
    pub fn fits(&self, bytes: u64) -> bool {
        self.memory_bytes.is_none_or(|memory| bytes <= memory)
    }

    /// Whether one tensor can have `bytes` bytes; true if both limits are unknown.
    pub fn fits_in_one_buffer(&self, bytes: u64) -> bool {
        self.fits(bytes) && self.largest_buffer_bytes.is_none_or(|largest| bytes <= largest)
    }

    /// The names of the number types, as in "f32, f16, i32".
    pub fn dtype_names(&self) -> String {
        self.dtypes.iter().map(DType::name).collect::<Vec<_>>().join(", ")
    }
}

fn names<S: Serializer>(dtypes: &[DType], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(dtypes.iter().map(DType::name))
}

/// An open device, on which tensors are stored and computed.
#[derive(Clone, Debug)]
pub struct Accelerator {
    /// burn's handle of the device, for tensors and models.
    pub device: Device,
    /// The hardware.
    pub adapter: Adapter,
    /// The number types and the memory of the device.
    pub capabilities: Capabilities,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_fits_unless_the_device_is_known_to_be_too_small() {
        let unknown = Capabilities::default();
        assert!(unknown.fits(u64::MAX) && unknown.fits_in_one_buffer(u64::MAX));
        let known = Capabilities { memory_bytes: Some(100), largest_buffer_bytes: Some(10), ..unknown };
        assert!(known.fits(100) && !known.fits(101));
        assert!(known.fits_in_one_buffer(10) && !known.fits_in_one_buffer(11));
    }

    #[test]
    fn number_types_are_written_by_name() {
        let capabilities = Capabilities { dtypes: vec![DType::F32, DType::I32], ..Capabilities::default() };
        let json = serde_json::to_value(&capabilities).expect("plain data");
        assert_eq!(json["dtypes"], serde_json::json!(["f32", "i32"]));
        assert_eq!(capabilities.dtype_names(), "f32, i32");
    }
}
