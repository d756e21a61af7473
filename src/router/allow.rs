//! The operator's word on which namespaces may name which AWS resources.
//!
//! A Rollout's author is not the operator. Without such a word a Rollout that names ARNs of its own choice is refused:
//! the controller's AWS rights would be anybody's who may write a Rollout.

use std::str::FromStr;

/// `namespace=arn-pattern`: Rollouts of these namespaces may name ARNs that match. In both halves `*` stands for any
/// characters, none included; a pattern covers the whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    namespace: String,
    arn: String,
}

/// An allow rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not of the form NAMESPACE=ARN-PATTERN, as in shop=arn:aws:elasticloadbalancing:eu-west-1:123456789012:*"
)]
pub struct AllowError(String);

impl Allow {
    fn permits(&self, namespace: &str, arn: &str) -> bool {
        matches(&self.namespace, namespace) && matches(&self.arn, arn)
    }
}

impl FromStr for Allow {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, AllowError> {
        match text.split_once('=') {
            Some((namespace, arn)) if !namespace.is_empty() && (arn.starts_with("arn:") || arn.starts_with('*')) => {
                Ok(Self { namespace: namespace.to_owned(), arn: arn.to_owned() })
            }
            _ => Err(AllowError(text.to_owned())),
        }
    }
}

/// Whether one of the operator's words lets a Rollout in `namespace` name `arn`.
#[must_use]
pub(super) fn permitted(words: &[Allow], namespace: &str, arn: &str) -> bool {
    words.iter().any(|word| word.permits(namespace, arn))
}

/// `*` matches any characters, everything else itself.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        // The leftmost fit leaves the most room for the pieces that follow.
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_the_whole_text() {
        for (pattern, text, fits) in [
            ("shop", "shop", true),
            ("shop", "shop2", false),
            ("*", "", true),
            ("*", "anything", true),
            ("team-*", "team-", true),
            ("team-*", "my-team-a", false),
            ("*-prod", "a-prod", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_word_counts_for_its_namespace_only() {
        let words = ["shop=arn:aws:elasticloadbalancing:eu-west-1:1:*".parse().unwrap()];
        let arn = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/a/b";
        assert!(permitted(&words, "shop", arn));
        assert!(!permitted(&words, "other", arn));
        assert!(!permitted(&words, "shop", "arn:aws:elasticloadbalancing:eu-west-1:2:targetgroup/a/b"));
        assert!(!permitted(&[], "shop", arn));
    }

    #[test]
    fn a_word_that_cannot_be_read_is_shown_with_an_example() {
        for text in ["", "shop", "=arn:aws:x", "shop=", "shop=targetgroup/x"] {
            assert!(text.parse::<Allow>().unwrap_err().to_string().contains("NAMESPACE=ARN-PATTERN"), "{text}");
        }
    }
}
