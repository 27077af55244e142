//! The page for people.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// One page that needs nothing from elsewhere.
const PAGE: &str = include_str!("../page.html");

/// The page, which may run its own script and talk to this server, and nothing else.
#[derive(Clone)]
pub(super) struct Page {
    policy: String,
}

impl Page {
    pub(super) fn new() -> Self {
        let [style, script] = ["style", "script"].map(|tag| {
            let content =
                PAGE.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")));
            BASE64_STANDARD.encode(Sha256::digest(content.map_or("", |(content, _)| content)))
        });
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self { policy }
    }

    pub(super) fn response(&self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, self.policy.as_str()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        (headers.map(|(name, value)| (name, value.to_owned())), PAGE).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_self_contained_and_its_policy_allows_nothing_else() {
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            let found: Vec<&str> = PAGE.lines().filter(|line| line.contains(outside)).collect();
            // The icon is a data URL, in which the namespace of SVG must stand.
            assert!(found.iter().all(|line| line.contains("href=\"data:image/svg+xml,")), "{outside}: {found:?}");
        }
        for tag in ["<style>", "<script>"] {
            assert_eq!(PAGE.matches(tag).count(), 1);
        }
        assert!(
            !PAGE.contains(" style=") && !PAGE.contains(" onclick="),
            "the policy forbids styles and scripts in tags"
        );
        let policy = Page::new().policy;
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}
