//! What long runs share: their folders, Ctrl-C and figures.

pub(crate) mod curves;
mod folder;
pub(crate) mod font;
pub(crate) mod interrupt;
mod lock;
mod model_hash;

pub(crate) use folder::{check_out, model_folder, open_model, remove_if_empty, trained_model_folder};
pub(crate) use lock::FolderLock;
pub(crate) use model_hash::hash_folders;

pub(crate) use crate::settings::RUN_FILE;
