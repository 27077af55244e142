//! A hash by which a model that was trained again is not taken for the old one.

use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use md5::{Digest, Md5};

/// A hash of the files in some model folders: of their names, sizes, and first and last 64 KiB.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn hash_folders(folders: &[PathBuf]) -> Result<String, Box<dyn Error>> {
    const ENDS: u64 = 1 << 16;
    let mut hash = Md5::new();
    for folder in folders {
        let failed = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            // Runs leave other files in the folders of their models.
            if path.extension().is_some_and(|extension| extension == "json" || extension == "safetensors") {
                paths.push(path);
            }
        }
        paths.sort();
        for path in paths {
            let mut file = File::open(&path).map_err(failed)?;
            let size = file.metadata().map_err(failed)?.len();
            hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update(size.to_le_bytes());
            for start in [0, size.saturating_sub(ENDS)] {
                let mut bytes = Vec::new();
                file.seek(SeekFrom::Start(start)).map_err(failed)?;
                (&mut file).take(ENDS).read_to_end(&mut bytes).map_err(failed)?;
                hash.update(&bytes);
            }
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
