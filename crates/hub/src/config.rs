//! Where the hub and its cache are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fmt, fs, io};

use crate::HubError;

/// The address of the hub.
const ENDPOINT: &str = "https://huggingface.co";
/// Python waits 10 s. A mirror may have to fetch a file first.
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 5;

/// The settings of a [`Hub`](crate::Hub).
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The address of the hub or of a mirror.
    pub endpoint: String,
    /// The folder of the cache, with one folder for each model.
    pub cache: PathBuf,
    /// The token for gated and private models. It is sent to the endpoint only.
    pub token: Option<AccessToken>,
    /// Use only the cache and send no request.
    pub offline: bool,
    /// How long to wait for a connection, and for the next bytes of an answer.
    pub timeout: Duration,
    /// How many times a download that breaks is continued before it is an error. Bytes that arrive reset the count.
    pub retries: u32,
}

/// A token of the hub. It is never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);

impl HubConfig {
    /// The public hub without a token, and a cache in this folder.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: ENDPOINT.into(),
            cache: cache.into(),
            token: None,
            offline: false,
            timeout: TIMEOUT,
            retries: RETRIES,
        }
    }

    /// The settings of the environment variables that Python's huggingface_hub reads.
    ///
    /// | variable | meaning | without it |
    /// |---|---|---|
    /// | HF_HOME | the folder of the cache and of the token | `$XDG_CACHE_HOME/huggingface`, `~/.cache/huggingface` |
    /// | HF_HUB_CACHE | the folder of the cache | `HF_HOME/hub` |
    /// | HF_TOKEN | the token | the content of the token's file, if there is one |
    /// | HF_TOKEN_PATH | the token's file | `HF_HOME/token` |
    /// | HF_ENDPOINT | the address of the hub | `https://huggingface.co` |
    /// | HF_HUB_OFFLINE | 1, ON, YES or TRUE: send no request | TRANSFORMERS_OFFLINE, or requests are sent |
    ///
    /// An empty variable counts as missing, and `~/` at the start of a folder is the user's folder.
    ///
    /// # Errors
    /// [`HubError::NoHome`] if no variable says where the cache is and the user has no folder, and [`HubError::Read`] if
    /// the token's file cannot be read.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_variables(|name| env::var_os(name), env::home_dir())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>, user: Option<PathBuf>) -> Result<Self, HubError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let user = user.filter(|folder| !folder.as_os_str().is_empty());
        let folder = |name: &str| {
            let path = PathBuf::from(variable(name)?);
            match (path.strip_prefix("~"), &user) {
                (Ok(rest), Some(user)) => Some(user.join(rest)),
                _ => Some(path),
            }
        };

        let caches = folder("XDG_CACHE_HOME").or_else(|| Some(user.as_ref()?.join(".cache")));
        let home = folder("HF_HOME").or_else(|| Some(caches?.join("huggingface")));
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home.as_ref()?.join("hub")))
            .ok_or(HubError::NoHome)?;

        let token = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")).and_then(AccessToken::new);
        let token_file = folder("HF_TOKEN_PATH").or_else(|| Some(home?.join("token")));
        let token = match (token, token_file) {
            (None, Some(file)) => stored_token(&file)?,
            (token, _) => token,
        };

        let offline = text("HF_HUB_OFFLINE").or_else(|| text("TRANSFORMERS_OFFLINE"));
        let offline = offline.is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()));
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        Ok(Self { endpoint, token, offline, ..Self::new(cache) })
    }
}

impl AccessToken {
    /// A token without the white space around it. `None` if nothing is left.
    pub fn new(token: impl AsRef<str>) -> Option<Self> {
        let token = token.as_ref().trim();
        (!token.is_empty()).then(|| Self(token.to_owned()))
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AccessToken(hidden)")
    }
}

/// The token in a file. `None` if there is no such file.
fn stored_token(file: &Path) -> Result<Option<AccessToken>, HubError> {
    match fs::read_to_string(file) {
        Ok(token) => Ok(AccessToken::new(token)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HubError::Read { path: file.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn config(variables: &[(&str, &str)]) -> HubConfig {
        let find = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into());
        HubConfig::from_variables(find, Some("/u".into())).unwrap()
    }

    #[test]
    fn the_folders_are_those_of_python() {
        assert_eq!(config(&[]).cache, Path::new("/u/.cache/huggingface/hub"));
        assert_eq!(config(&[("XDG_CACHE_HOME", "/c")]).cache, Path::new("/c/huggingface/hub"));
        assert_eq!(config(&[("HF_HOME", "~/hf")]).cache, Path::new("/u/hf/hub"));
        assert_eq!(config(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]).cache, Path::new("/c"));
        assert_eq!(config(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "")]).cache, Path::new("/h/hub"));
    }

    #[test]
    fn a_user_without_a_folder_is_told_what_to_set() {
        let message = HubConfig::from_variables(|_| None, None).unwrap_err().to_string();
        assert!(message.contains("HF_HOME"), "{message}");
    }

    #[test]
    fn the_token_is_that_of_the_variable_or_else_that_of_a_file() {
        let home = tempfile::tempdir().unwrap();
        let home_text = home.path().to_str().unwrap();
        let secret = |variables: &[(&str, &str)]| config(variables).token.map(|token| token.secret().to_owned());
        assert_eq!(secret(&[("HF_HOME", home_text)]), None);
        fs::write(home.path().join("token"), "from-home\n").unwrap();
        assert_eq!(secret(&[("HF_HOME", home_text)]).as_deref(), Some("from-home"));
        let other = home.path().join("other");
        fs::write(&other, "from-path").unwrap();
        let path = ("HF_TOKEN_PATH", other.to_str().unwrap());
        assert_eq!(secret(&[("HF_HOME", home_text), path]).as_deref(), Some("from-path"));
        assert_eq!(secret(&[("HF_TOKEN", " set "), ("HF_HOME", home_text), path]).as_deref(), Some("set"));
        assert_eq!(secret(&[("HF_TOKEN", "  "), ("HF_HOME", home_text)]).as_deref(), Some("from-home"));
    }

    #[test]
    fn offline_and_endpoint_are_read() {
        let read = config(&[("HF_HOME", "/h")]);
        assert!(!read.offline && read.endpoint == "https://huggingface.co");
        assert!(config(&[("HF_HOME", "/h"), ("HF_HUB_OFFLINE", "true")]).offline);
        assert!(config(&[("HF_HOME", "/h"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert!(!config(&[("HF_HOME", "/h"), ("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert_eq!(config(&[("HF_HOME", "/h"), ("HF_ENDPOINT", "http://m")]).endpoint, "http://m");
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let config = config(&[("HF_HOME", "/h"), ("HF_TOKEN", "hf_secret")]);
        let shown = format!("{config:?}");
        assert!(shown.contains("AccessToken(hidden)") && !shown.contains("secret"), "{shown}");
    }
}
