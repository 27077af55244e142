//! The errors of this crate.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use crate::HubModel;

/// An error of this crate.
///
/// Each message says what was wrong, with the value, and what to try. The cause is in
/// [`source`](std::error::Error::source) and not in the message, so a program should print both. No message has a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A name is neither a folder nor a valid name of a model.
    #[error(
        "{name:?} is neither a folder nor the name of a model; give a folder that exists, or owner/name or \
         owner/name@revision, such as google-t5/t5-small or google-t5/t5-small@main"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A name is that of a file.
    #[error("{} is a file; give the folder that has it, or owner/name of a model on the hub", path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// No variable says where the cache is.
    #[error("there is no folder for the cache, because the user has no home folder; set HF_HOME to a folder")]
    NoHome,
    /// The address of the hub is invalid.
    #[error("{endpoint:?} is not the address of a hub; set HF_ENDPOINT to one such as https://huggingface.co")]
    Endpoint {
        /// The address.
        endpoint: String,
    },
    /// The token would be in the log.
    #[error("the token would be in the log: the level `trace` of `ureq_proto` shows every byte; set RUST_LOG to less")]
    TokenInLog,
    /// A token has characters that cannot be sent.
    #[error(
        "the token is invalid, because it has spaces or characters other than ASCII; set HF_TOKEN, or the file that \
         HF_TOKEN_PATH names, to a token of the hub"
    )]
    Token,
    /// The hub has no such model, or does not show it.
    #[error(
        "there is no model {model} at {endpoint}; check the name. If the model is private, set HF_TOKEN to a token with \
         access. If {model} should be a folder, it does not exist here"
    )]
    NoModel {
        /// The model.
        model: HubModel,
        /// The address of the hub.
        endpoint: String,
    },
    /// A model has no such revision.
    #[error(
        "{} at {endpoint} has no revision {:?}; give one of its branches, tags or commits, or no revision for its main \
         branch",
        model.id(),
        model.revision()
    )]
    NoRevision {
        /// The model, with the revision.
        model: HubModel,
        /// The address of the hub.
        endpoint: String,
    },
    /// The hub refuses the files of a model.
    #[error(
        "no access to {model} (status {status}): {}. If it is gated, accept its licence at {endpoint}/{}, and set \
         HF_TOKEN to a token of that account",
        if *has_token { "the token is invalid or has no access" } else { "there is no token" },
        model.id()
    )]
    NoAccess {
        /// The model.
        model: HubModel,
        /// The address of the hub.
        endpoint: String,
        /// The status of the answer, 401 or 403.
        status: u16,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// A model has weights, but not as safetensors.
    #[error(
        "{model} has its weights in {file} only, which can run code: convert it at {endpoint}/spaces/safetensors/convert \
         and give {}@refs/pr/N, or load it in Python and save_pretrained(folder)",
        model.id()
    )]
    NoSafetensors {
        /// The model.
        model: HubModel,
        /// The file with the weights.
        file: String,
        /// The address of the hub.
        endpoint: String,
    },
    /// A model has no file that is needed.
    #[error("{model} has no {file}; choose a model that was saved by transformers with its weights as safetensors")]
    NoFile {
        /// The model.
        model: HubModel,
        /// The file.
        file: String,
    },
    /// The list of the shards of a model is invalid.
    #[error("{}: {reason}; delete the file to fetch it again, or ask the author of the model", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No request may be sent, and the cache does not have what is needed.
    #[error(
        "HF_HUB_OFFLINE is set, and the cache {} has no {file} of {model}; unset it once to fetch the file, or set \
         HF_HUB_CACHE to the cache that has it",
        cache.display()
    )]
    Offline {
        /// The model.
        model: HubModel,
        /// The first file that is missing.
        file: String,
        /// The folder of the cache.
        cache: PathBuf,
    },
    /// A server cannot be reached.
    #[error(
        "cannot reach {server}; check the network and HTTPS_PROXY, set HF_ENDPOINT to a mirror, or give a folder with the \
         model"
    )]
    Unreachable {
        /// The address of the server.
        server: String,
        /// The system's error.
        source: io::Error,
    },
    /// A server answered with an error.
    #[error("{server} answered {file} with status {status}{}; try again later", note(message))]
    Status {
        /// The address of the server.
        server: String,
        /// What was requested.
        file: String,
        /// The status.
        status: u16,
        /// The server's message, or nothing.
        message: String,
    },
    /// A server did not answer as the hub does.
    #[error("{server} did not answer {file} as the hub does: {reason}; check HF_ENDPOINT")]
    Reply {
        /// The address of the server.
        server: String,
        /// What was requested.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A download broke.
    #[error(
        "the download of {file} stopped after {done} bytes{}; run the same again, and the download continues there",
        size.map(|size| format!(" of {size}")).unwrap_or_default()
    )]
    Interrupted {
        /// The file.
        file: String,
        /// The bytes that are on the disk.
        done: u64,
        /// The size of the file, bytes, if it is known.
        size: Option<u64>,
        /// The error of the connection.
        source: io::Error,
    },
    /// A download does not have the announced size.
    #[error(
        "the download of {file} has {actual} bytes, and the hub announced {expected}; it was deleted. Try again, without a \
         proxy or mirror if there is one"
    )]
    Size {
        /// The file.
        file: String,
        /// The announced size, bytes.
        expected: u64,
        /// The size of what the server sends, bytes.
        actual: u64,
    },
    /// A download has another hash than the file at the hub.
    #[error(
        "the download of {file} is damaged: its SHA-256 is {actual}, and the hub announced {expected}; it was deleted. Try \
         again, without a proxy or mirror if there is one"
    )]
    Hash {
        /// The file.
        file: String,
        /// The announced SHA-256, in hexadecimal digits.
        expected: String,
        /// That of the download.
        actual: String,
    },
    /// The disk is full.
    #[error(
        "cannot write {}, because the disk is full; free some space, or set HF_HUB_CACHE to a folder on another disk. A \
         download continues where it stopped",
        path.display()
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file or folder of the cache cannot be written.
    #[error("cannot write {}; check its permissions, or set HF_HUB_CACHE to another folder", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}; check its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl HubError {
    /// The error of a file or folder that cannot be written.
    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            _ => Self::Write { path, source },
        }
    }

    /// What went wrong, without what to try.
    pub(crate) fn cause(&self) -> String {
        self.source().map_or_else(|| self.to_string(), ToString::to_string)
    }

    /// Whether the same request may succeed a little later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}

/// The server's message in parentheses.
fn note(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}
