//! What the config.json of all families have in common.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::LmError;

/// One token id or a list of them, as config.json has for the ids that end a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenIds {
    /// One id.
    One(u32),
    /// Several ids.
    Many(Vec<u32>),
}

impl TokenIds {
    /// The ids as a slice.
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

/// A parsed config.json, and where it came from.
pub(crate) struct ConfigFile {
    pub(crate) fields: Map<String, Value>,
    pub(crate) origin: String,
}

impl ConfigFile {
    /// The config.json in a folder.
    ///
    /// # Errors
    /// [`LmError::Read`] if it is missing, and [`LmError::Config`] if it is not a JSON object.
    pub(crate) fn open(folder: &Path) -> Result<Self, LmError> {
        let path = folder.join("config.json");
        let config = fs::read_to_string(&path).map_err(|source| LmError::Read { path: path.clone(), source })?;
        Self::parse(&config, &path.display().to_string())
    }

    /// # Errors
    /// [`LmError::Config`] if the text is not a JSON object.
    pub(crate) fn parse(json: &str, origin: &str) -> Result<Self, LmError> {
        let fields = serde_json::from_str(json).map_err(|source| LmError::Config { origin: origin.into(), source })?;
        Ok(Self { fields, origin: origin.into() })
    }

    /// The text of a field; empty if the field is missing or not a text.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Sets fields that are missing to the defaults of a family. A field that is null stays null.
    pub(crate) fn with_defaults(mut self, defaults: &[(&str, Value)]) -> Self {
        for (field, value) in defaults {
            self.fields.entry(*field).or_insert_with(|| value.clone());
        }
        self
    }

    /// The config of a family. Fields that are null count as missing, and so do negative token ids, which some files have
    /// for "none".
    ///
    /// # Errors
    /// [`LmError::Config`] if a required field is missing, and [`LmError::Field`] with a field whose value is invalid.
    pub(crate) fn read<C: DeserializeOwned>(&self) -> Result<C, LmError> {
        let is_none = |field: &str, value: &Value| {
            value.is_null() || field.ends_with("_token_id") && value.as_i64().is_some_and(|id| id < 0)
        };
        let fields = self.fields.iter().filter(|(field, value)| !is_none(field, value));
        let fields: Map<String, Value> = fields.map(|(field, value)| (field.clone(), value.clone())).collect();
        serde_json::from_value(Value::Object(fields.clone())).map_err(|source| {
            let origin = self.origin.clone();
            match invalid_field::<C>(fields) {
                Some((field, value)) => LmError::Field { origin, field, value: value.to_string(), source },
                None => LmError::Config { origin, source },
            }
        })
    }

    /// Checks that a field is missing or has one of the supported values.
    ///
    /// # Errors
    /// [`LmError::Unsupported`] if it has another value.
    pub(crate) fn require(
        &self,
        field: &'static str,
        values: &[Value],
        supported: &'static str,
    ) -> Result<(), LmError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if values.contains(value) => Ok(()),
            Some(value) => Err(unsupported(&self.origin, field, value, supported)),
        }
    }
}

/// The first field whose value cannot be in a config, and this value. The errors of serde_json do not name it.
fn invalid_field<C: DeserializeOwned>(fields: Map<String, Value>) -> Option<(String, Value)> {
    fields.into_iter().find(|(field, value)| {
        let alone = Map::from_iter([(field.clone(), value.clone())]);
        // The other required fields are missing, which is noticed after an invalid value.
        let result = serde_json::from_value::<C>(Value::Object(alone));
        result.is_err_and(|error| !error.to_string().starts_with("missing field"))
    })
}

/// The error for a field with a value that is not supported.
pub(crate) fn unsupported(origin: &str, field: &str, value: &impl ToString, supported: &'static str) -> LmError {
    LmError::Unsupported { origin: origin.into(), field: field.into(), value: value.to_string(), supported }
}

/// Checks that sizes are at least 1 and that ids are in the vocabulary.
///
/// # Errors
/// [`LmError::Unsupported`] with the first field that is invalid.
pub(crate) fn check_values(
    origin: &str,
    vocab_size: usize,
    sizes: &[(&'static str, usize)],
    ids: &[(&'static str, &[u32])],
) -> Result<(), LmError> {
    for (field, size) in sizes {
        if *size == 0 {
            return Err(unsupported(origin, field, size, "1 or more"));
        }
    }
    for (field, ids) in ids {
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size) {
            return Err(unsupported(origin, field, id, "an id below vocab_size"));
        }
    }
    Ok(())
}

/// The size of a model with random weights, made after the config of another one ([`Pretrained::resized`]).
///
/// [`Pretrained::resized`]: crate::Pretrained::resized
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelSize {
    /// The width of the hidden states, a multiple of the width of an attention head. Feed-forward layers are narrowed in
    /// proportion.
    pub width: usize,
    /// The number of blocks; of the encoder, if there is one.
    pub layers: usize,
    /// The number of blocks of the decoder of an encoder-decoder. `None` means `layers`.
    pub decoder_layers: Option<usize>,
}

impl ModelSize {
    /// The number of attention heads of the width `d_head`.
    ///
    /// # Errors
    /// [`LmError::ModelSize`] if the width is not a multiple of `d_head`, or if there are no blocks.
    pub(crate) fn heads(&self, d_head: usize) -> Result<usize, LmError> {
        let decoder_layers = self.decoder_layers.unwrap_or(self.layers);
        if self.width == 0 || !self.width.is_multiple_of(d_head) || self.layers == 0 || decoder_layers == 0 {
            return Err(LmError::ModelSize { width: self.width, layers: self.layers, decoder_layers, d_head });
        }
        Ok(self.width / d_head)
    }

    /// The width of feed-forward layers that have the width `inner` in a model of the width `width`, rounded up to a
    /// multiple of 8.
    pub(crate) fn inner(&self, inner: usize, width: usize) -> usize {
        (inner * self.width).div_ceil(width).next_multiple_of(8)
    }
}

/// A size in config.json, and what the weights say about it.
pub(crate) struct Size {
    pub(crate) field: &'static str,
    pub(crate) value: usize,
    /// The tensor or the stack of blocks that shows the size, and the size that it shows. None if it is missing.
    pub(crate) found: Option<(String, usize)>,
}

/// Compares sizes in config.json with those in the header of the weights, before anything is allocated.
///
/// # Errors
/// [`LmError::Size`] with the first field that differs, or [`LmError::Weights`] if a tensor that shows a size is missing.
pub(crate) fn check_sizes(origin: &str, sizes: Vec<Size>) -> Result<(), LmError> {
    for Size { field, value, found } in sizes {
        match found {
            Some((_, found)) if found == value => {}
            Some((tensor, found)) => {
                return Err(LmError::Size { origin: origin.into(), field, value, tensor, found });
            }
            None => {
                let problems = vec![format!("the tensor that shows {field} is missing")];
                return Err(LmError::Weights { origin: origin.into(), problems });
            }
        }
    }
    Ok(())
}
