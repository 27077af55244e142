//! Calls of one server: time limits, repetitions, the cap, and pauses after failures.

use std::net::IpAddr;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, HeaderValue, Response, Uri};
use ureq::{Agent, Body, Proxy, RequestBuilder, Timeout};

use crate::api_key::ApiKey;
use crate::outage::Outage;
use crate::retry::Backoff;
use crate::spending::Meter;
use crate::wire::{ErrorReply, Reply, TokenUsage};
use crate::{RemoteConfig, RemoteError};

/// The longest part of a server's message that an error repeats, bytes.
const MESSAGE: usize = 120;
/// The largest body of an error that is read, bytes.
const ERROR_BODY: u64 = 65_536;

/// A client of one server. Connections are kept open and used again.
pub(crate) struct Client {
    agent: Agent,
    base: String,
    /// The address of the server for messages: without a path.
    server: String,
    model: String,
    key: Option<ApiKey>,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    retries: u32,
    backoff: Duration,
    max_reply_bytes: u64,
    pub(crate) meter: Meter,
    outage: Outage,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("server", &self.server).field("key", &self.key).finish_non_exhaustive()
    }
}

impl Client {
    /// # Errors
    /// If a setting, the address or the key is invalid.
    pub(crate) fn new(config: &RemoteConfig) -> Result<Self, RemoteError> {
        config.check()?;
        let base = config.base_url.trim_end_matches('/').to_owned();
        let uri = checked(&base)?;
        let server = origin(&uri);
        let key = config.api_key_env.as_deref().map(ApiKey::from_env).transpose()?;
        let is_local = is_loopback(&uri);
        if let Some(key) = &key
            && uri.scheme_str() == Some("http")
            && !(is_local || config.allow_key_over_http)
        {
            return Err(RemoteError::KeyOverHttp { server, variable: key.variable().to_owned() });
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect is an answer here: the text and the key go to no other server.
            .max_redirects(0)
            .user_agent(concat!("training-wheels/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs_f64(config.connect_timeout_seconds)))
            .timeout_resolve(Some(Duration::from_secs_f64(config.connect_timeout_seconds)))
            .max_idle_connections(config.concurrency)
            .max_idle_connections_per_host(config.concurrency)
            .proxy(if is_local { None } else { Proxy::try_from_env() })
            .build()
            .into();
        Ok(Self {
            agent,
            base,
            server,
            model: config.model.clone(),
            authorization: key.as_ref().map(ApiKey::header),
            key,
            timeout: Duration::from_secs_f64(config.timeout_seconds),
            retries: config.retries,
            backoff: Duration::from_secs_f64(config.backoff_seconds),
            max_reply_bytes: config.max_reply_bytes,
            meter: Meter::new(config),
            outage: Outage::new(Duration::from_secs_f64(config.cool_down_seconds)),
        })
    }

    /// The address of the server, without a path.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The error of an answer that cannot be used.
    pub(crate) fn invalid(&self, reason: impl Into<String>) -> RemoteError {
        RemoteError::Reply { server: self.server.clone(), reason: reason.into() }
    }

    /// Reads a path. It costs nothing.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RemoteError> {
        let deadline = Instant::now() + self.timeout;
        self.repeated(deadline, || {
            let request = self.prepared(self.agent.get(format!("{}{path}", self.base)), deadline)?;
            self.read(path, request.call().map_err(|error| self.failed(error, deadline))?, deadline)
        })
    }

    /// Calls the model, unless the server has just failed or the cap has no room, and reads the answer with `read`. An
    /// answer that `read` cannot use is a failure in the log, but no reason for a pause.
    ///
    /// # Errors
    /// Any error of the last attempt and of `read`, [`RemoteError::Outage`] and [`RemoteError::SpendingCap`].
    pub(crate) fn call<C: DeserializeOwned, R>(
        &self,
        path: &str,
        body: &impl Serialize,
        size: TokenUsage,
        read: impl FnOnce(C) -> Result<R, RemoteError>,
    ) -> Result<(R, TokenUsage), RemoteError> {
        if let Some(reason) = self.outage.reason() {
            return Err(RemoteError::Outage { server: self.server.clone(), reason });
        }
        let started = Instant::now();
        let reply: Result<Reply<C>, RemoteError> = self.post(path, body, size);
        self.outage.record(started, reply.as_ref().err());
        let result = reply.and_then(|reply| {
            let usage = reply.usage.unwrap_or(size);
            Ok((read(self.first(reply)?)?, usage))
        });
        self.outage.report(&self.server, result.as_ref().err());
        result
    }

    /// Calls the model, also if the server has just failed. `size` is the most that the call can use.
    pub(crate) fn post<C: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        size: TokenUsage,
    ) -> Result<Reply<C>, RemoteError> {
        let deadline = Instant::now() + self.timeout;
        let body = serde_json::to_vec(body).expect("texts, numbers and lists are JSON");
        self.repeated(deadline, || {
            self.meter.set_aside(size)?;
            let result: Result<Reply<C>, RemoteError> = self.post_once(path, &body, deadline);
            let used = match &result {
                Ok(reply) => Some(reply.usage.unwrap_or(size)),
                Err(error) => error.may_cost().then_some(size),
            };
            self.meter.settle(size, used);
            result
        })
    }

    /// The first answer of a reply.
    ///
    /// # Errors
    /// [`RemoteError::Reply`] if there is none.
    pub(crate) fn first<C>(&self, reply: Reply<C>) -> Result<C, RemoteError> {
        reply.choices.into_iter().next().ok_or_else(|| self.invalid("it has no choices"))
    }

    fn post_once<T: DeserializeOwned>(&self, path: &str, body: &[u8], deadline: Instant) -> Result<T, RemoteError> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("content-type", "application/json");
        let request = self.prepared(request, deadline)?;
        self.read(path, request.send(body).map_err(|error| self.failed(error, deadline))?, deadline)
    }

    /// A request with its time limit, and with the key if there is one.
    ///
    /// # Errors
    /// [`RemoteError::KeyInLog`] if the HTTP library would log every byte that it sends.
    fn prepared<B>(&self, request: RequestBuilder<B>, deadline: Instant) -> Result<RequestBuilder<B>, RemoteError> {
        let request = request.config().timeout_global(Some(left(deadline))).build();
        let Some(authorization) = &self.authorization else { return Ok(request) };
        if log::log_enabled!(target: "ureq_proto::util", log::Level::Trace) {
            return Err(RemoteError::KeyInLog);
        }
        Ok(request.header("authorization", authorization))
    }

    /// Repeats attempts that fail with an error that may pass.
    fn repeated<T>(
        &self,
        deadline: Instant,
        mut attempt: impl FnMut() -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        let mut backoff = Backoff::new(self.backoff, self.retries);
        loop {
            let error = match attempt() {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            match backoff.next(error.retry_after()).filter(|wait| error.may_pass() && *wait < left(deadline)) {
                Some(wait) => {
                    log::debug!("{error}: trying again in {} ms", wait.as_millis());
                    thread::sleep(wait);
                }
                None => return Err(error),
            }
        }
    }

    /// The content of an answer.
    fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        mut response: Response<Body>,
        deadline: Instant,
    ) -> Result<T, RemoteError> {
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            return Err(self.refused(path, status, response));
        }
        let body = response.body_mut().with_config().limit(self.max_reply_bytes).read_to_vec();
        let body = body.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(limit) => {
                self.invalid(format!("it has more than {limit} bytes (`RemoteConfig::max_reply_bytes`)"))
            }
            error => self.failed(error, deadline),
        })?;
        serde_json::from_slice(&body).map_err(|error| self.invalid(self.shown(&error.to_string())))
    }

    /// The error of an answer with a status that is not one of success.
    fn refused(&self, path: &str, status: u16, mut response: Response<Body>) -> RemoteError {
        let server = self.server.clone();
        let retry_after = retry_after(response.headers());
        if (300..400).contains(&status) {
            let location = response.headers().get("location").and_then(|value| value.to_str().ok());
            let target = location.and_then(|location| location.parse::<Uri>().ok());
            let target = target.filter(|uri| uri.authority().is_some()).map(|uri| origin(&uri));
            return RemoteError::Redirect { target: target.unwrap_or_else(|| "another path".to_owned()), server };
        }
        match status {
            401 | 403 => {
                let variable = self.key.as_ref().map(|key| key.variable().to_owned());
                return RemoteError::NoAccess { server, status, variable };
            }
            429 => return RemoteError::RateLimited { server, status, retry_after },
            503 if retry_after.is_some() => return RemoteError::RateLimited { server, status, retry_after },
            _ => {}
        }
        let body = response.body_mut().with_config().limit(ERROR_BODY).read_to_vec().unwrap_or_default();
        let message = match serde_json::from_slice::<ErrorReply>(&body) {
            Ok(reply) => self.shown(&reply.error.message),
            Err(_) => String::new(),
        };
        match status {
            404 | 405 | 410 => {
                RemoteError::NotFound { server, path: path.to_owned(), model: self.model.clone(), message }
            }
            408 | 425 | 500.. => RemoteError::Server { server, status, message },
            _ => RemoteError::Rejected { server, status, message },
        }
    }

    /// The error of a connection.
    fn failed(&self, error: ureq::Error, deadline: Instant) -> RemoteError {
        let server = self.server.clone();
        match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                let source = io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
                RemoteError::Unreachable { server, source, sent: false }
            }
            ureq::Error::Timeout(_) => {
                let late = Instant::now().saturating_duration_since(deadline);
                RemoteError::TimedOut { server, seconds: (self.timeout + late).as_secs_f64() }
            }
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::Tls(_) => {
                RemoteError::Unreachable { server, source: error.into_io(), sent: false }
            }
            ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => {
                let source = io::Error::other("the address is invalid");
                RemoteError::Unreachable { server, source, sent: false }
            }
            error => {
                let source = error.into_io();
                let sent = source.kind() != io::ErrorKind::ConnectionRefused;
                RemoteError::Unreachable { server, source, sent }
            }
        }
    }

    /// A server's message for an error: short, on one line, and without the key.
    fn shown(&self, message: &str) -> String {
        let message = match &self.key {
            Some(key) => key.removed_from(message),
            None => message.to_owned(),
        };
        let mut line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if line.len() > MESSAGE {
            line.truncate(line.floor_char_boundary(MESSAGE));
            line.push_str("...");
        }
        line
    }
}

/// The time until a deadline. Never 0, which the HTTP library would read as no limit.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// The time that a server asks to wait, if it says so in seconds. A date is not read: clocks differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    (0.0..=86_400.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// The address, if it is one of a server.
fn checked(base: &str) -> Result<Uri, RemoteError> {
    // What is before an @ may be a password.
    let shown = base.rsplit_once('@').map_or(base, |(_, shown)| shown);
    let invalid = |reason| RemoteError::Url { url: shown.to_owned(), reason };
    let uri: Uri = base.parse().map_err(|_| invalid("it cannot be parsed"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(invalid("it must begin with http:// or https://"));
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err(invalid("a name or password in an address would be shown; use `RemoteConfig::api_key_env`"))
        }
        Some(_) if uri.query().is_some() => Err(invalid("it may have no query")),
        Some(_) => Ok(uri),
        None => Err(invalid("it has no host")),
    }
}

/// Whether an address is on this machine.
fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Scheme, host and port.
fn origin(uri: &Uri) -> String {
    let port = uri.port_u16().map_or(String::new(), |port| format!(":{port}"));
    format!("{}://{}{port}", uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_invalid_address_is_an_error_without_a_password() {
        for base in ["", "localhost:8000", "ftp://h", "http://", "http://user:pass@h", "http://h?key=pass"] {
            let message = match checked(base) {
                Err(error) => error.to_string(),
                Ok(uri) => panic!("{uri} is valid"),
            };
            assert!(!message.contains("user:pass"), "{message}");
        }
        assert_eq!(origin(&checked("https://h:8443/v1").unwrap()), "https://h:8443");
    }

    #[test]
    fn a_key_goes_without_encryption_only_to_this_machine() {
        for (base, local) in [
            ("http://localhost:1", true),
            ("http://127.0.0.1/v1", true),
            ("http://[::1]:8", true),
            ("http://10.0.0.1", false),
            ("http://localhost.evil.example", false),
        ] {
            assert_eq!(is_loopback(&base.parse().unwrap()), local, "{base}");
        }
    }

    #[test]
    fn a_time_to_wait_is_read_in_seconds() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("2"), Some(Duration::from_secs(2)));
        assert_eq!(read("0.5"), Some(Duration::from_millis(500)));
        for invalid in ["-1", "nan", "1e300", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(read(invalid), None, "{invalid}");
        }
    }
}
