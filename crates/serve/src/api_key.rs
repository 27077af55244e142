//! The key that clients must send.

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
    pub fn from_env() -> Option<Self> {
        std::env::var(Self::VARIABLE).ok().filter(|key| !key.is_empty()).map(|key| Self::new(&key))
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
}
