//! Reads the tensors of safetensors files by position.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;

use super::{FILE, HEAD, INDEX};
use crate::LmError;

/// The maximum length of a header, bytes. The safetensors library has the same limit.
const MAX_HEADER: u64 = 100_000_000;

/// The size of the blocks in which a file is read, bytes. It is a multiple of the size of every number.
const BLOCK: usize = 1 << 22;

/// The tensors of a checkpoint. Only the headers are in memory.
pub(crate) struct Tensors<'a> {
    pub(super) origin: String,
    pub(super) entries: BTreeMap<String, Entry>,
    parts: Vec<Part<'a>>,
}

pub(super) struct Entry {
    part: usize,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// The place of the numbers in the part, bytes.
    range: Range<usize>,
}

enum Part<'a> {
    File(PathBuf, File),
    Bytes(&'a [u8]),
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl<'a> Tensors<'a> {
    /// Opens the weights of a model folder: model.safetensors, or else the shards of model.safetensors.index.json.
    ///
    /// # Errors
    /// [`LmError::Read`] if a file is missing, [`LmError::Safetensors`] if one is damaged, and [`LmError::Index`] if the
    /// index cannot be parsed or does not describe the shards.
    pub(crate) fn open(folder: &Path) -> Result<Self, LmError> {
        let whole = folder.join(FILE);
        let index = folder.join(INDEX);
        let pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json"].map(|name| folder.join(name));
        if !whole.exists() && !index.exists() && pickled.iter().any(|path| path.exists()) {
            return Err(LmError::Pickled { folder: folder.into() });
        }
        if whole.exists() || !index.exists() {
            return Self::open_file(whole);
        }
        let json = fs::read(&index).map_err(|source| LmError::Read { path: index.clone(), source })?;
        let invalid = |reason: String| LmError::Index { path: index.clone(), reason };
        let Index { weight_map } = serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))?;
        let shards: BTreeSet<&String> = weight_map.values().collect();
        let mut tensors = Self { origin: index.display().to_string(), entries: BTreeMap::new(), parts: vec![] };
        for shard in shards {
            let is_name = Path::new(shard).file_name().is_some_and(|name| name == shard.as_str());
            if !is_name {
                return Err(invalid(format!("{shard:?} is not the name of a file in the same folder")));
            }
            let path = folder.join(shard);
            if !path.exists() {
                return Err(LmError::MissingShard { path, index });
            }
            tensors.add_file(path)?;
        }
        for (name, shard) in &weight_map {
            let part = tensors.entries.get(name).map(|entry| &tensors.parts[entry.part]);
            if !matches!(part, Some(Part::File(path, _)) if path.ends_with(shard)) {
                return Err(invalid(format!("{shard} has no tensor {name}")));
            }
        }
        Ok(tensors)
    }

    /// Opens a safetensors file.
    ///
    /// # Errors
    /// [`LmError::Read`] if it is missing, and [`LmError::Safetensors`] if it is damaged.
    pub(crate) fn open_file(path: PathBuf) -> Result<Self, LmError> {
        let mut tensors = Self { origin: path.display().to_string(), entries: BTreeMap::new(), parts: vec![] };
        tensors.add_file(path)?;
        Ok(tensors)
    }

    /// Opens the content of a safetensors file. `origin` is its name in error messages.
    ///
    /// # Errors
    /// [`LmError::Safetensors`] if it is damaged.
    pub(crate) fn from_bytes(origin: &str, bytes: &'a [u8]) -> Result<Self, LmError> {
        let mut tensors = Self { origin: origin.into(), entries: BTreeMap::new(), parts: vec![] };
        tensors.add(Part::Bytes(bytes), bytes.len() as u64)?;
        Ok(tensors)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// What is wrong with a tensor that the file has and that should have the shape `expected`.
    pub(super) fn misfit(&self, name: &str, expected: &[usize]) -> Vec<String> {
        let (entry, mut problems) = (&self.entries[name], vec![]);
        if entry.shape != expected {
            problems.push(format!("{name} has the shape {:?} and should have {expected:?}", entry.shape));
        }
        if !matches!(entry.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64) {
            problems.push(format!("{name} has numbers of the format {:?}, which is not supported", entry.dtype));
        }
        problems
    }

    /// The number of layers in a stack of blocks: one more than the largest number in a name `{prefix}N.`.
    pub(crate) fn layers(&self, prefix: &str) -> usize {
        let numbers =
            self.names().filter_map(|name| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok());
        numbers.max().map_or(0, |last| last + 1)
    }

    /// The number formats, without repetition.
    pub(crate) fn formats(&self) -> Vec<String> {
        let formats: BTreeSet<String> = self.entries.values().map(|entry| format!("{:?}", entry.dtype)).collect();
        formats.into_iter().collect()
    }

    /// The number of files.
    pub(crate) fn files(&self) -> usize {
        self.parts.len()
    }

    fn add_file(&mut self, path: PathBuf) -> Result<(), LmError> {
        let read = |source| LmError::Read { path: path.clone(), source };
        let file = File::open(&path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        self.add(Part::File(path, file), length)
    }

    /// Reads the header of a part of `length` bytes and adds its tensors.
    fn add(&mut self, part: Part<'a>, length: u64) -> Result<(), LmError> {
        let origin = part.origin().unwrap_or_else(|| self.origin.clone());
        let torn = |reason: String| LmError::Safetensors { origin: origin.clone(), reason };
        let too_short = || torn("the length of its header is missing or too large".into());
        let mut size = [0; 8];
        if length < 8 {
            return Err(too_short());
        }
        part.read(0, &mut size)?;
        let size = u64::from_le_bytes(size);
        if size > MAX_HEADER || size > length - 8 {
            return Err(too_short());
        }
        let mut header = vec![0; size as usize];
        part.read(8, &mut header)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| torn(error.to_string()))?;
        let start = 8 + header.len();
        let expected = (start + metadata.data_len()) as u64;
        if length != expected {
            return Err(torn(format!("it has {length} bytes and should have {expected}")));
        }
        for (name, info) in metadata.tensors() {
            let range = start + info.data_offsets.0..start + info.data_offsets.1;
            let entry = Entry { part: self.parts.len(), dtype: info.dtype, shape: info.shape.clone(), range };
            self.entries.insert(name, entry);
        }
        self.parts.push(part);
        Ok(())
    }

    /// Whether a tensor has the same numbers as the first of `others` that exists.
    ///
    /// # Errors
    /// [`LmError::Read`] if a file cannot be read.
    pub(crate) fn are_equal(&self, name: &str, others: &[String]) -> Result<bool, LmError> {
        let Some(other) = others.iter().find_map(|other| self.entries.get(other)) else { return Ok(false) };
        let this = &self.entries[name];
        if this.dtype != other.dtype || this.shape != other.shape {
            return Ok(false);
        }
        let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
        for start in (0..this.range.len()).step_by(BLOCK) {
            let size = BLOCK.min(this.range.len() - start);
            for (entry, block) in [(this, &mut left), (other, &mut right)] {
                self.parts[entry.part].read((entry.range.start + start) as u64, &mut block[..size])?;
            }
            if left[..size] != right[..size] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the output head `lm_head.weight` has weights of its own beside the embedding table, whose possible names are
    /// `tables`. The file decides: a head that differs from the table is used, whatever the config says about sharing
    /// (`tied`).
    ///
    /// # Errors
    /// [`LmError::Weights`] if there is no such head and the config does not share the table, and [`LmError::Read`].
    pub(crate) fn has_own_head(&self, tables: &[String], tied: bool) -> Result<bool, LmError> {
        let table = tables.iter().find(|name| self.entries.contains_key(*name));
        let has_head = self.entries.contains_key(HEAD) && table.is_some_and(|table| table != HEAD);
        if !has_head && !tied {
            let problems = vec![format!("{HEAD} is missing, and tie_word_embeddings is false")];
            return Err(LmError::Weights { origin: self.origin.clone(), problems });
        }
        Ok(has_head && !(tied && self.are_equal(HEAD, tables)?))
    }

    /// Reads a tensor and converts it to `dtype`, block by block.
    pub(super) fn read(&self, name: &str, dtype: DType) -> Result<TensorData, LmError> {
        let entry = &self.entries[name];
        let data = match dtype {
            DType::F16 => TensorData::new(self.numbers(entry, f16::from_f32)?, entry.shape.clone()),
            DType::BF16 => TensorData::new(self.numbers(entry, bf16::from_f32)?, entry.shape.clone()),
            _ => TensorData::new(self.numbers(entry, |number| number)?, entry.shape.clone()),
        };
        // An infinite half is a number that is too large for this format, or was infinite in the file.
        if dtype == DType::F16
            && data.as_slice::<f16>().is_ok_and(|halves| halves.iter().any(|half| half.is_infinite()))
        {
            return Err(LmError::Range { origin: self.origin.clone(), tensor: name.into() });
        }
        Ok(data)
    }

    fn numbers<T>(&self, entry: &Entry, convert: impl Fn(f32) -> T) -> Result<Vec<T>, LmError> {
        let mut numbers = Vec::with_capacity(entry.shape.iter().product());
        let mut block = vec![0; BLOCK.min(entry.range.len())];
        for start in entry.range.clone().step_by(BLOCK) {
            let block = &mut block[..BLOCK.min(entry.range.end - start)];
            self.parts[entry.part].read(start as u64, block)?;
            match entry.dtype {
                Dtype::F16 => numbers.extend(chunks(block).map(|bytes| convert(f16::from_le_bytes(bytes).to_f32()))),
                Dtype::BF16 => numbers.extend(chunks(block).map(|bytes| convert(bf16::from_le_bytes(bytes).to_f32()))),
                Dtype::F64 => numbers.extend(chunks(block).map(|bytes| convert(f64::from_le_bytes(bytes) as f32))),
                _ => numbers.extend(chunks(block).map(|bytes| convert(f32::from_le_bytes(bytes)))),
            }
        }
        Ok(numbers)
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

impl Part<'_> {
    fn origin(&self) -> Option<String> {
        match self {
            Self::File(path, _) => Some(path.display().to_string()),
            Self::Bytes(_) => None,
        }
    }

    /// Fills `buffer` from byte `start` on.
    fn read(&self, start: u64, buffer: &mut [u8]) -> Result<(), LmError> {
        match self {
            Self::File(path, file) => {
                let mut file = file;
                let filled = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(buffer));
                filled.map_err(|source| LmError::Read { path: path.clone(), source })
            }
            Self::Bytes(bytes) => {
                let start = start as usize;
                buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
                Ok(())
            }
        }
    }
}
