//! What a rule changes in a request before a target gets it.
//!
//! Sources: user guide for Application Load Balancers, "Transforms for listener rules": without a match the request stays as it
//! is; a match with an unusable outcome is answered with 500; the choice of the rule does not change. Not documented, so
//! assumed: a URL is the path with the query, and only the first match is replaced.

use regex::bytes::Regex;

use crate::control_plane::model::shapes::{RewriteConfig, Transform};
use crate::data_plane::conditions::{RequestHead, regex};

/// The transforms of one rule, ready to be applied.
#[derive(Debug, Default)]
pub(super) struct Rewrites {
    host: Vec<Rewrite>,
    url: Vec<Rewrite>,
}

/// What the target gets instead; `None` where it gets what the client sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rewritten {
    pub(crate) host: Option<String>,
    /// Path and query.
    pub(crate) url: Option<String>,
}

/// A match whose outcome is no text, or no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unusable;

#[derive(Debug)]
struct Rewrite {
    regex: Regex,
    replacement: String,
}

impl Rewrites {
    pub(super) fn of(transforms: &[Transform]) -> Self {
        Self {
            host: compile(transforms.iter().filter_map(|transform| transform.host_header_rewrite_config.as_ref())),
            url: compile(transforms.iter().filter_map(|transform| transform.url_rewrite_config.as_ref())),
        }
    }

    pub(super) fn apply(&self, head: &RequestHead<'_>) -> Result<Rewritten, Unusable> {
        let url = || head.query.map_or_else(|| head.path.to_owned(), |query| format!("{}?{query}", head.path));
        let rewritten =
            Rewritten { host: first_match(&self.host, || head.host.to_owned())?, url: first_match(&self.url, url)? };
        if rewritten.url.as_ref().is_some_and(|url| !url.starts_with('/')) {
            return Err(Unusable);
        }
        Ok(rewritten)
    }
}

fn compile<'a>(configs: impl Iterator<Item = &'a RewriteConfig>) -> Vec<Rewrite> {
    configs
        .flat_map(|config| &config.rewrites)
        .filter_map(|rewrite| {
            Some(Rewrite { regex: regex(&rewrite.regex)?, replacement: replacement(&rewrite.replace) })
        })
        .collect()
}

/// AWS writes a group as `$1`, and any other `$` is itself; `regex` would take `$1a` for a group of the name `1a`.
fn replacement(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.next_if(char::is_ascii_digit)) {
            ('$', Some(digit)) => written.extend(['$', '{', digit, '}']),
            ('$', None) => written.push_str("$$"),
            (_, digit) => written.extend([character].into_iter().chain(digit)),
        }
    }
    written
}

fn first_match(rewrites: &[Rewrite], text: impl FnOnce() -> String) -> Result<Option<String>, Unusable> {
    if rewrites.is_empty() {
        return Ok(None);
    }
    let text = text();
    let Some(rewrite) = rewrites.iter().find(|rewrite| rewrite.regex.is_match(text.as_bytes())) else {
        return Ok(None);
    };
    let outcome = rewrite.regex.replace(text.as_bytes(), rewrite.replacement.as_bytes()).into_owned();
    String::from_utf8(outcome).map(Some).map_err(|_| Unusable)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hyper::header::HeaderMap;

    use super::*;
    use crate::control_plane::model::shapes::{self, TransformType};

    fn transform(kind: TransformType, regex: &str, replace: &str) -> Transform {
        let rewrites = vec![shapes::Rewrite { regex: regex.to_owned(), replace: replace.to_owned() }];
        let config = Some(RewriteConfig { rewrites });
        match kind {
            TransformType::HostHeaderRewrite => {
                Transform { r#type: kind, host_header_rewrite_config: config, url_rewrite_config: None }
            }
            TransformType::UrlRewrite => {
                Transform { r#type: kind, host_header_rewrite_config: None, url_rewrite_config: config }
            }
        }
    }

    fn apply(transforms: &[Transform], host: &str, path: &str, query: Option<&str>) -> Result<Rewritten, Unusable> {
        let headers = HeaderMap::new();
        let source = IpAddr::from([127, 0, 0, 1]);
        let head = RequestHead { listener_arn: "", source, method: "GET", host, path, query, headers: &headers };
        Rewrites::of(transforms).apply(&head)
    }

    #[test]
    fn host_and_url_are_rewritten_where_they_match() {
        let transforms = [
            transform(TransformType::HostHeaderRewrite, r"^shop\.(.+)$", "inside.$1"),
            transform(TransformType::UrlRewrite, "^/shop/(.*)$", "/$1"),
        ];
        let both = apply(&transforms, "shop.example.com", "/shop/cart", Some("id=7")).expect("usable");
        assert_eq!(both.host.as_deref(), Some("inside.example.com"));
        assert_eq!(both.url.as_deref(), Some("/cart?id=7"));
        assert_eq!(apply(&transforms, "example.com", "/cart", None), Ok(Rewritten::default()));
    }

    #[test]
    fn groups_are_single_digits_and_other_dollars_are_kept() {
        let transforms = [transform(TransformType::UrlRewrite, "^/(a)(b)$", "/$2$1x$/$")];
        assert_eq!(apply(&transforms, "", "/ab", None).expect("usable").url.as_deref(), Some("/bax$/$"));
    }

    #[test]
    fn an_outcome_that_is_no_path_is_refused() {
        let transforms = [transform(TransformType::UrlRewrite, "^/gone$", "nowhere")];
        assert_eq!(apply(&transforms, "", "/gone", None), Err(Unusable));
    }
}
