//! Turns panics in drivers into errors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{DeviceError, DeviceSpec};

/// A panic in a driver or in its bindings.
#[derive(Debug, thiserror::Error)]
#[error("the driver panicked: {message}")]
pub struct DriverPanic {
    /// The panic's message.
    pub message: String,
}

impl DriverPanic {
    /// Reads the message of a caught panic.
    pub fn new(payload: &(dyn Any + Send)) -> Self {
        let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(message), _) => (*message).to_owned(),
            (_, Some(message)) => message.clone(),
            _ => "without a message".to_owned(),
        };
        Self { message }
    }
}

/// Runs `work` and turns a panic in it into [`DeviceError::Driver`].
///
/// Some bindings of drivers panic instead of returning an error. The panic hook is still called.
///
/// # Errors
/// The error that `work` returns, or [`DeviceError::Driver`] with a [`DriverPanic`] as its source.
pub fn catch_driver_panic<T>(
    spec: DeviceSpec,
    work: impl FnOnce() -> Result<T, DeviceError>,
) -> Result<T, DeviceError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let source = Box::new(DriverPanic::new(payload.as_ref()));
        Err(DeviceError::Driver { spec, source })
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn a_panic_becomes_a_driver_error_that_keeps_its_message() {
        let spec = DeviceSpec::index(crate::PlatformName::Cuda, 0);
        let count = 3;
        let error = catch_driver_panic::<()>(spec, || panic!("{count} symbols are missing")).expect_err("it panics");
        assert!(error.to_string().contains("cuda:0"), "{error}");
        let source = error.source().expect("the panic").to_string();
        assert_eq!(source, "the driver panicked: 3 symbols are missing");
        assert!(matches!(catch_driver_panic(spec, || Ok(1)), Ok(1)));
    }
}
