//! Requests, with the token for one server only.

use std::net::IpAddr;
use std::{fmt, io};

use ureq::http::{HeaderMap, HeaderValue, Response, Uri};
use ureq::{Agent, Body, Proxy};

use crate::{AccessToken, HubConfig, HubError};

/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 10;

/// Sends requests to the hub and to the servers that it redirects to.
///
/// Redirects are followed here and not by ureq, because the token may go to the hub only, and because the hub's headers
/// are in the answer that redirects.
pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    origin: String,
    authorization: Option<HeaderValue>,
}

/// The answer to a request.
pub(crate) struct Reply {
    /// The address of the server that answered, such as `https://huggingface.co`. The rest of an address can be secret.
    pub(crate) server: String,
    /// The headers and the body.
    pub(crate) response: Response<Body>,
}

/// What is requested.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// The headers of the hub's own answer. A redirect to another server is not followed.
    Head,
    /// The content from this byte on.
    Get(u64),
}

/// Without the agent, which has the password of a proxy.
impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(config: &HubConfig) -> Result<Self, HubError> {
        let endpoint = config.endpoint.trim_end_matches('/');
        // What is before an @ may be a password.
        let shown = endpoint.rsplit_once('@').map_or(endpoint, |(_, shown)| shown);
        let invalid = || HubError::Endpoint { endpoint: shown.to_owned() };
        let uri: Uri = endpoint.parse().map_err(|_| invalid())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() {
            return Err(invalid());
        }
        let host = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(invalid)?.host();
        let authorization = config.token.as_ref().map(authorization).transpose()?;

        let is_local =
            host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("training-wheels/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(config.timeout))
            .timeout_connect(Some(config.timeout))
            .timeout_recv_response(Some(config.timeout))
            .timeout_per_read(Some(config.timeout))
            .proxy(if is_local { None } else { Proxy::try_from_env() })
            .build()
            .into();
        Ok(Self { agent, endpoint: endpoint.to_owned(), origin: origin(&uri), authorization })
    }

    /// The address of the hub, without a slash at its end.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn has_token(&self) -> bool {
        self.authorization.is_some()
    }

    /// Sends a request to a path of the hub, and follows redirects. `what` is what is requested, for messages.
    pub(crate) fn send(&self, path: &str, request: Request, what: &str) -> Result<Reply, HubError> {
        let mut url = format!("{}{path}", self.endpoint);
        for _ in 0..=MAX_REDIRECTS {
            let uri: Uri = url.parse().map_err(|_| HubError::Reply {
                server: self.endpoint.clone(),
                file: what.to_owned(),
                reason: "its redirect is not a valid address".into(),
            })?;
            let server = origin(&uri);
            let invalid = |reason: &str| HubError::Reply {
                server: server.clone(),
                file: what.to_owned(),
                reason: reason.to_owned(),
            };
            let response = self.send_once(&uri, &server, request)?;
            if !response.status().is_redirection() {
                return Ok(Reply { server, response });
            }
            let location = header(response.headers(), "location");
            let next = location
                .and_then(|location| target(&uri, location))
                .ok_or_else(|| invalid("its redirect has no address"))?;
            let next_server = next.parse().map(|uri| origin(&uri)).unwrap_or_default();
            if request == Request::Head {
                let has = |name| response.headers().contains_key(name);
                if has("x-linked-etag") || (next_server != server && has("etag")) {
                    return Ok(Reply { server, response });
                }
            }
            if server.starts_with("https:") && !next_server.starts_with("https:") {
                return Err(invalid("it redirects to an address without encryption"));
            }
            url = next;
        }
        Err(HubError::Reply {
            server: self.endpoint.clone(),
            file: what.to_owned(),
            reason: format!("it redirects more than {MAX_REDIRECTS} times"),
        })
    }

    fn send_once(&self, uri: &Uri, server: &str, request: Request) -> Result<Response<Body>, HubError> {
        let builder = match request {
            Request::Head => self.agent.head(uri),
            Request::Get(_) => self.agent.get(uri),
        };
        // A compressed answer would have another size.
        let mut builder = builder.header("accept-encoding", "identity");
        if let Request::Get(start @ 1..) = request {
            builder = builder.header("range", format!("bytes={start}-"));
        }
        if let Some(authorization) = self.authorization.as_ref().filter(|_| server == self.origin) {
            // At this level, the HTTP library shows every byte that it sends.
            if log::log_enabled!(target: "ureq_proto::util", log::Level::Trace) {
                return Err(HubError::TokenInLog);
            }
            builder = builder.header("authorization", authorization);
        }
        builder.call().map_err(|error| HubError::Unreachable { server: server.to_owned(), source: plain(error) })
    }
}

/// A header, if it is text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The text as a piece of a path in an address. Slashes stay if `slashes`.
pub(crate) fn escaped(text: &str, slashes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            b'/' if slashes => escaped.push('/'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn authorization(token: &AccessToken) -> Result<HeaderValue, HubError> {
    if !token.secret().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(HubError::Token);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.secret())).map_err(|_| HubError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Scheme, host and port.
fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    match (scheme, port) {
        ("https", 443) | ("http", 80) => format!("{scheme}://{host}"),
        _ => format!("{scheme}://{host}:{port}"),
    }
}

/// The address that a redirect from `uri` names.
fn target(uri: &Uri, location: &str) -> Option<String> {
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let lower = location.to_ascii_lowercase();
    Some(if lower.starts_with("http://") || lower.starts_with("https://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = uri.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    })
}

/// The error without what an address may have that is secret.
fn plain(error: ureq::Error) -> io::Error {
    match error {
        ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => io::Error::other("the address is invalid"),
        error => error.into_io(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn redirects_are_resolved() {
        let uri: Uri = "https://h:8443/a/b?c".parse().unwrap();
        for (location, expected) in [
            ("https://cdn/x?y=%2F", "https://cdn/x?y=%2F"),
            ("//cdn/x", "https://cdn/x"),
            ("/x", "https://h:8443/x"),
            ("x", "https://h:8443/a/x"),
        ] {
            assert_eq!(target(&uri, location).unwrap(), expected);
        }
    }

    #[test]
    fn an_origin_has_scheme_host_and_port() {
        for (text, expected) in [
            ("https://Hub.Co:443/x", "https://hub.co"),
            ("http://hub.co/x", "http://hub.co"),
            ("http://hub.co:443/x", "http://hub.co:443"),
            ("https://user@hub.co/x", "https://hub.co"),
        ] {
            assert_eq!(origin(&text.parse().unwrap()), expected);
        }
    }

    #[test]
    fn pieces_of_addresses_are_escaped() {
        assert_eq!(escaped("refs/pr/1", false), "refs%2Fpr%2F1");
        assert_eq!(escaped("a b/c#d.json", true), "a%20b/c%23d.json");
    }

    #[test]
    fn an_invalid_endpoint_or_token_is_an_error_without_the_token() {
        for endpoint in ["", "huggingface.co", "ftp://hub", "https://", "https://user:pass@hub", "https://hub?x"] {
            let config = HubConfig { endpoint: endpoint.into(), ..HubConfig::new("cache") };
            let message = Client::new(&config).unwrap_err().to_string();
            assert!(message.contains("HF_ENDPOINT") && !message.contains("pass"), "{message}");
        }
        let config = HubConfig { token: AccessToken::new("se\ncret"), ..HubConfig::new("cache") };
        let message = Client::new(&config).unwrap_err().to_string();
        assert!(message.contains("HF_TOKEN") && !message.contains("cret"), "{message}");
    }
}
