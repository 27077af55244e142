//! A shard: consecutive pairs of the data in one file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensors};

use super::CacheFile;
use super::columns::Column;
use super::digest::PairDigest;
use super::scorer::PairRows;
use crate::DistillError;

const DIGESTS: &str = "digests";
const OFFSETS: &str = "offsets";

/// A shard that was checked.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    /// The first byte of each column.
    starts: Vec<u64>,
}

/// The rows of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) shard: u32,
    row: u32,
    pub(super) rows: u32,
}

/// The content of a shard, and its number of rows.
pub(super) fn encode(columns: &[Column], digests: &[PairDigest], pairs: &[PairRows]) -> (Vec<u8>, usize) {
    let mut offsets = vec![0_u64];
    for rows in pairs {
        let count = rows[0].len() / columns[0].row_bytes();
        offsets.push(offsets[offsets.len() - 1] + count as u64);
    }
    let rows = offsets[pairs.len()] as usize;
    let offsets: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let numbers: Vec<Vec<u8>> =
        (0..columns.len()).map(|column| pairs.iter().flat_map(|rows| &rows[column]).copied().collect()).collect();
    let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).expect("the bytes have this shape");
    let mut views = vec![
        (DIGESTS, view(Dtype::U8, vec![pairs.len(), 16], digests.as_flattened())),
        (OFFSETS, view(Dtype::U64, vec![pairs.len() + 1], &offsets)),
    ];
    for (column, bytes) in columns.iter().zip(&numbers) {
        views.push((column.name, view(column.stored(), vec![rows, column.width], bytes)));
    }
    (safetensors::serialize(views, None).expect("the names are distinct"), rows)
}

impl Shard {
    /// Checks a shard, and adds the places of its pairs to `found`.
    ///
    /// # Errors
    /// [`DistillError::CacheFile`].
    pub(super) fn open(
        folder: &Path,
        file: &CacheFile,
        columns: &[Column],
        index: u32,
        found: &mut HashMap<PairDigest, Place>,
    ) -> Result<Self, DistillError> {
        let content = file.read(folder)?;
        let path = file.path(folder);
        let damaged = |reason: String| DistillError::CacheFile { path: path.clone(), reason };
        let unreadable = |error: safetensors::SafeTensorError| damaged(error.to_string());
        let (header, metadata) = SafeTensors::read_metadata(&content).map_err(unreadable)?;
        let starts = starts(&metadata, columns, header as u64 + 8, file.tokens).map_err(damaged)?;
        let tensors = SafeTensors::deserialize(&content).map_err(unreadable)?;
        let [digests, offsets] = [DIGESTS, OFFSETS].map(|name| tensors.tensor(name).map_err(unreadable));
        let (digests, offsets) = (digests?, offsets?);
        let digests = digests.data().as_chunks::<16>().0;
        let offsets: Vec<u64> = offsets.data().as_chunks().0.iter().map(|&bytes| u64::from_le_bytes(bytes)).collect();
        let rising = offsets.is_sorted_by(|a, b| a < b);
        let covers = offsets.first() == Some(&0) && offsets.last() == Some(&(file.tokens as u64));
        if digests.len() != file.pairs || offsets.len() != file.pairs + 1 || !covers || !rising {
            return Err(damaged("its pairs do not fit its rows".into()));
        }
        for (digest, ends) in digests.iter().zip(offsets.windows(2)) {
            found.insert(*digest, Place { shard: index, row: ends[0] as u32, rows: (ends[1] - ends[0]) as u32 });
        }
        Ok(Self { path, starts })
    }

    /// Reads the rows of a pair into the given rows of the columns. The last row fills what is left, so that padding has a
    /// valid distribution.
    pub(super) fn read(
        &self,
        place: &Place,
        columns: &[Column],
        to: Range<usize>,
        bytes: &mut [Vec<u8>],
    ) -> io::Result<()> {
        // No file stays open, because a large cache has more shards than a process may have open files.
        let mut file = File::open(&self.path)?;
        for ((column, start), bytes) in columns.iter().zip(&self.starts).zip(bytes) {
            let row_bytes = column.row_bytes();
            file.seek(SeekFrom::Start(start + u64::from(place.row) * row_bytes as u64))?;
            let rows = &mut bytes[to.start * row_bytes..to.end * row_bytes];
            let end = place.rows as usize * row_bytes;
            file.read_exact(&mut rows[..end])?;
            for start in (end..rows.len()).step_by(row_bytes) {
                rows.copy_within(start - row_bytes..start, start);
            }
        }
        Ok(())
    }
}

/// The first byte of each column in a shard with `rows` rows, whose tensors begin at byte `data`.
fn starts(metadata: &Metadata, columns: &[Column], data: u64, rows: usize) -> Result<Vec<u64>, String> {
    let mut starts = Vec::with_capacity(columns.len());
    for column in columns {
        let info = metadata.info(column.name).ok_or_else(|| format!("it has no tensor {}", column.name))?;
        if info.shape != [rows, column.width] || info.dtype != column.stored() {
            let expected = [rows, column.width];
            return Err(format!("{} has the shape {:?} and should have {expected:?}", column.name, info.shape));
        }
        starts.push(data + info.data_offsets.0 as u64);
    }
    Ok(starts)
}
