//! A secret key that is never shown.

use std::fmt;

use ureq::http::HeaderValue;

use crate::RemoteError;

/// An API key. Neither `Debug` nor any message shows it.
#[derive(Clone)]
pub(crate) struct ApiKey {
    secret: String,
    /// The variable that it came from.
    variable: String,
}

impl ApiKey {
    /// The key in an environment variable, without the white space around it.
    ///
    /// # Errors
    /// [`RemoteError::MissingKey`] if the variable is empty or not set, and [`RemoteError::InvalidKey`] if the key has
    /// characters that cannot be sent.
    pub(crate) fn from_env(variable: &str) -> Result<Self, RemoteError> {
        let invalid = || RemoteError::InvalidKey { variable: variable.to_owned() };
        let value = std::env::var_os(variable).unwrap_or_default();
        let secret = value.to_str().ok_or_else(invalid)?.trim().to_owned();
        if secret.is_empty() {
            return Err(RemoteError::MissingKey { variable: variable.to_owned() });
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid());
        }
        Ok(Self { secret, variable: variable.to_owned() })
    }

    pub(crate) fn variable(&self) -> &str {
        &self.variable
    }

    /// The header that sends the key. `Debug` hides its value, also in the log of the HTTP library.
    pub(crate) fn header(&self) -> HeaderValue {
        let value = HeaderValue::try_from(format!("Bearer {}", self.secret));
        let mut value = value.expect("visible ASCII characters are a header");
        value.set_sensitive(true);
        value
    }

    /// The text without the key, which some servers repeat in their errors.
    pub(crate) fn removed_from(&self, text: &str) -> String {
        text.replace(&self.secret, "(key)")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiKey(${})", self.variable)
    }
}
