//! Errors of starting and running a server.

use std::net::SocketAddr;

/// An error of this crate. What is wrong with a request is answered to its client and is no error of the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting is invalid.
    #[error("`ServerConfig::{setting}`: {problem}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; choose another port with `ServerConfig::listen`, or stop what uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The system gives no threads or no network.
    #[error("the server cannot run")]
    System(#[source] std::io::Error),
    /// Student and teacher cannot decode together.
    #[error(transparent)]
    Model(#[from] training_wheels::Error),
}

impl From<training_wheels::decode::DecodeError> for ServeError {
    fn from(error: training_wheels::decode::DecodeError) -> Self {
        Self::Model(error.into())
    }
}
