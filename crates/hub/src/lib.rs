//! Model folders by name: `owner/name` and `owner/name@revision` of the Hugging Face hub, or a folder on the disk.
//!
//! [`fetch`] takes either and returns a folder. The files of a model on the hub go into the cache that Python's
//! huggingface_hub uses, in its layout, so a model that Python has downloaded is not downloaded again, and the other way
//! round. Only the files that the other crates read are fetched: the configs, the tokenizer, what a student has beside
//! its weights, and the weights as safetensors, whole or in shards, or those of an adapter.
//!
//! ```no_run
//! let folder = wheels_hub::fetch("Qwen/Qwen2.5-0.5B-Instruct", |progress| {
//!     println!("{}: {} of {:?} bytes", progress.file, progress.done, progress.total);
//! })?;
//! # Ok::<(), wheels_hub::HubError>(())
//! ```
//!
//! A folder that exists wins over a model of the same name, and nothing is asked of a server:
//!
//! ```
//! let folder = wheels_hub::fetch("src", |_| ())?;
//! assert_eq!(folder.to_str(), Some("src"));
//! # Ok::<(), wheels_hub::HubError>(())
//! ```
//!
//! # Settings
//! The environment variables are those of Python: HF_HOME and HF_HUB_CACHE say where the cache is, HF_TOKEN,
//! HF_TOKEN_PATH and the file HF_HOME/token have the token for gated and private models, HF_ENDPOINT is the address of a
//! mirror, and HF_HUB_OFFLINE=1 forbids every request. [`HubConfig::from_env`] reads them. A program with other
//! settings fills a [`HubConfig`] and calls [`Hub::fetch`].
//!
//! # Downloads
//! A file is written to `blobs/<etag>.incomplete`. If the connection breaks, the rest is requested with a `Range`, in the
//! same call or in the next one. The size of every file is checked, and the SHA-256 of large files, whose etag it is.
//! Only then does the file get its name. The weights come last, so a snapshot with weights has all other files. The
//! locks are also those of Python, so two processes never write the same file.
//!
//! If the server cannot be reached and the cache has a complete snapshot of the model, it is used with a warning.
//!
//! # Why not the crate hf-hub
//! hf-hub 0.5 sends the token to every server that the hub redirects to. It renames a download without a check of its
//! size, and if a server ignores `Range`, it appends the whole file to the part. It does not read HF_HUB_OFFLINE,
//! HF_HUB_CACHE and HF_TOKEN, and its errors do not say whether a model is missing or gated. hf-hub 1.0 needs an
//! asynchronous runtime, about 100 more crates and CMake, and starts a broken download again. What this crate needs of the
//! hub is three kinds of requests, which ureq sends. Its TLS library, ring, has C and assembly code: the C compiler that
//! Rust links with compiles it.
//!
//! This crate reads no model and has no tensors. It does not upload, does not fetch datasets, and does not convert
//! weights.

mod cache;
mod client;
mod config;
mod error;
mod hub;
mod name;
mod needed;
mod part;
mod patience;
mod progress;
mod repository;

use std::path::{Path, PathBuf};

pub use config::{AccessToken, HubConfig};
pub use error::HubError;
pub use hub::Hub;
pub use name::{HubModel, ModelName};
pub use progress::Progress;

/// Returns the folder of a model, with the settings of the environment: the folder itself if `name` is one, or else the
/// snapshot of `owner/name` or `owner/name@revision` in the cache, once all its files are there.
///
/// `progress` is called for every block of a file that is downloaded, and never for a file that is in the cache.
///
/// # Errors
/// [`HubError`] if the name is invalid, if there is no such model or no access to it, if a download fails, or if a file
/// cannot be written.
pub fn fetch(name: impl AsRef<Path>, progress: impl FnMut(&Progress<'_>)) -> Result<PathBuf, HubError> {
    match ModelName::new(name)? {
        ModelName::Folder(folder) => Ok(folder),
        ModelName::Hub(model) => Hub::new(HubConfig::from_env()?)?.fetch(&model, progress),
    }
}
