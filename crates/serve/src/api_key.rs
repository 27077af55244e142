//! The key that clients must send.

use std::ffi::OsStr;
use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The key that clients must send as `Authorization: Bearer KEY`.
///
/// Only its hash is kept. It appears in no log and no error.
#[derive(Clone)]
pub struct ApiKey([u8; 32]);

impl ApiKey {
    /// The environment variable that programs read the key from.
    pub const VARIABLE: &str = "WHEELS_API_KEY";

    /// A key.
    pub fn new(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The key in the environment variable [`ApiKey::VARIABLE`]. None if it is missing or empty.
    ///
    /// A value that is not UTF-8 is a key too, which no client can send.
    pub fn from_env() -> Option<Self> {
        Self::from_value(&std::env::var_os(Self::VARIABLE)?)
    }

    /// The key in the value of a variable. None if it is empty.
    fn from_value(value: &OsStr) -> Option<Self> {
        // A value that cannot be read as text must not leave the server open, so its bytes are the key.
        (!value.is_empty()).then(|| Self(Sha256::digest(value.as_encoded_bytes()).into()))
    }

    /// Whether this is the key. The time does not depend on how much of it is right.
    pub(crate) fn is(&self, key: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(key).into();
        self.0.ct_eq(&hash).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_itself_is_accepted_and_nothing_shows_it() {
        let key = ApiKey::new("secret");
        assert!(key.is("secret"));
        assert!(["", "secre", "secret ", "Secret"].iter().all(|wrong| !key.is(wrong)));
        assert_eq!(format!("{key:?}"), "ApiKey(hidden)");
    }

    #[test]
    fn a_variable_without_a_value_has_no_key() {
        assert!(ApiKey::from_value(OsStr::new("")).is_none());
        assert!(ApiKey::from_value(OsStr::new("secret")).is_some_and(|key| key.is("secret")));
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_utf_8_is_a_key_that_nobody_can_send() {
        use std::os::unix::ffi::OsStrExt;

        let key = ApiKey::from_value(OsStr::from_bytes(b"secr\xe9t")).expect("a key");
        assert!(["", "secrt", "secr\u{e9}t", "secr\u{fffd}t"].iter().all(|wrong| !key.is(wrong)));
    }
}
