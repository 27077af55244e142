//! What the hub says about a model and its files.

use std::collections::BTreeSet;
use std::io::Read;

use serde::Deserialize;

use crate::cache::is_plain;
use crate::client::{Client, Reply, Request, escaped, header};
use crate::{HubError, HubModel};

/// The longest list of files that is read, bytes.
const MAX_LIST: u64 = 50_000_000;

/// A model on the hub.
pub(crate) struct Repository<'a> {
    pub(crate) client: &'a Client,
    pub(crate) model: &'a HubModel,
}

/// A revision of a model.
pub(crate) struct Listing {
    pub(crate) commit: String,
    pub(crate) files: BTreeSet<String>,
}

/// What the hub says about a file before it is downloaded.
#[derive(Debug)]
pub(crate) struct RemoteFile {
    pub(crate) name: String,
    /// The name of the content: a hash, or what the server chooses.
    pub(crate) etag: String,
    /// The size, bytes, if the server says it.
    pub(crate) size: Option<u64>,
}

/// The content of a file, from `start` on.
pub(crate) struct Content {
    pub(crate) start: u64,
    /// The size of the whole file, bytes, if the server says it.
    pub(crate) size: Option<u64>,
    pub(crate) reader: Box<dyn Read>,
}

impl RemoteFile {
    /// The SHA-256 of the content, if it is the etag.
    pub(crate) fn sha256(&self) -> Option<&str> {
        let is_sha256 = self.etag.len() == 64 && self.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_sha256.then_some(self.etag.as_str())
    }
}

impl Repository<'_> {
    /// The commit and the files of the model's revision.
    pub(crate) fn listing(&self) -> Result<Listing, HubError> {
        #[derive(Deserialize)]
        struct Answer {
            sha: String,
            #[serde(default)]
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }

        let what = self.model.to_string();
        let path = format!("/api/models/{}/revision/{}", self.model.id(), escaped(self.model.revision(), false));
        let reply = self.client.send(&path, Request::Get(0), &what)?;
        let reply = self.checked(reply, &what)?;
        let server = reply.server;
        let body = reply.response.into_body().into_with_config().limit(MAX_LIST).read_to_vec();
        let body = body.map_err(|error| HubError::Unreachable { server: server.clone(), source: error.into_io() })?;
        let invalid = |reason: String| HubError::Reply { server: server.clone(), file: what.clone(), reason };
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?;
        if !is_plain(&answer.sha) {
            return Err(invalid(format!("{:?} is not a commit", answer.sha)));
        }
        let files = answer.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        Ok(Listing { commit: answer.sha, files })
    }

    /// Etag and size of a file.
    pub(crate) fn remote_file(&self, commit: &str, file: &str) -> Result<RemoteFile, HubError> {
        let reply = self.client.send(&self.path(commit, file), Request::Head, file)?;
        // A redirect to another server is an answer, too. The hub puts etag and size into it.
        let is_redirect = reply.response.status().is_redirection();
        let reply = if is_redirect { reply } else { self.checked(reply, file)? };
        let headers = reply.response.headers();
        let etag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
        let Some(etag) = etag.filter(|etag| is_plain(etag)) else {
            let reason = "the answer has no valid etag".into();
            return Err(HubError::Reply { server: reply.server, file: file.to_owned(), reason });
        };
        let length = if is_redirect { None } else { header(headers, "content-length") };
        let size = header(headers, "x-linked-size").or(length).and_then(|size| size.parse().ok());
        Ok(RemoteFile { name: file.to_owned(), etag: etag.to_owned(), size })
    }

    /// Requests the content of a file from `start` on. A server may send the whole file nevertheless.
    pub(crate) fn content(&self, commit: &str, file: &str, start: u64) -> Result<Content, HubError> {
        let path = self.path(commit, file);
        let mut reply = self.client.send(&path, Request::Get(start), file)?;
        // The part may be longer than the file.
        if reply.response.status() == 416 && start > 0 {
            reply = self.client.send(&path, Request::Get(0), file)?;
        }
        let reply = self.checked(reply, file)?;
        let headers = reply.response.headers();
        let (start, size) = if reply.response.status() == 206 {
            let range = header(headers, "content-range").and_then(content_range);
            range.ok_or_else(|| HubError::Reply {
                server: reply.server.clone(),
                file: file.to_owned(),
                reason: "the answer to a range has no valid Content-Range".into(),
            })?
        } else {
            (0, header(headers, "content-length").and_then(|length| length.parse().ok()))
        };
        Ok(Content { start, size, reader: Box::new(reply.response.into_body().into_reader()) })
    }

    fn path(&self, commit: &str, file: &str) -> String {
        format!("/{}/resolve/{}/{}", self.model.id(), escaped(commit, false), escaped(file, true))
    }

    /// The reply, or the error of its status.
    fn checked(&self, reply: Reply, what: &str) -> Result<Reply, HubError> {
        let status = reply.response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(reply);
        }
        let model = self.model.clone();
        let endpoint = self.client.endpoint().to_owned();
        let headers = reply.response.headers();
        // Without a token, the hub answers a name that does not exist with 401, but says so in this header.
        Err(match (status, header(headers, "x-error-code")) {
            (_, Some("RevisionNotFound")) => HubError::NoRevision { model, endpoint },
            (_, Some("RepoNotFound")) => HubError::NoModel { model, endpoint },
            (_, Some("EntryNotFound")) => HubError::NoFile { model, file: what.to_owned() },
            (401 | 403, _) => HubError::NoAccess { model, endpoint, status, has_token: self.client.has_token() },
            (404, _) if what == model.to_string() => HubError::NoModel { model, endpoint },
            (404, _) => HubError::NoFile { model, file: what.to_owned() },
            _ => HubError::Status {
                server: reply.server,
                file: what.to_owned(),
                status,
                message: header(headers, "x-error-message").unwrap_or_default().chars().take(200).collect(),
            },
        })
    }
}

/// First byte and size of the file in a `Content-Range` such as `bytes 100-199/200`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, size.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("bytes */10"), None);
        assert_eq!(content_range("5-9/10"), None);
    }
}
