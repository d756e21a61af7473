//! Conditions on the headers of a request, as an ALB's rules have them.
//!
//! Limits: API reference, `HttpHeaderConditionConfig`; user guide for Application Load Balancers, "Condition types for listener
//! rules".

use aws_sdk_elasticloadbalancingv2::types::{HttpHeaderConditionConfig, RuleCondition};

const FIELD: &str = "http-header";
const LONGEST_NAME: usize = 40;
const LONGEST_VALUE: usize = 128;

/// What one header of a request must be (`HttpHeaderConditionConfig`). One of the values is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderCondition {
    /// The header's name. ALB does not look at its case.
    pub header: String,
    /// Texts in which `*` and `?` stand for others. ALB does not look at their case.
    pub values: Vec<String>,
    /// Regular expressions.
    pub regex_values: Vec<String>,
}

/// Why an ALB cannot look at a header this way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Not a header's name, or too long a one.
    #[error(
        "`{0}` is not a header's name that an ALB takes: it has 1 to {LONGEST_NAME} letters, digits and characters of !#$%&'*+-.^_`|~"
    )]
    Name(String),
    /// The one header that has conditions of its own.
    #[error("an ALB does not look at the header `{0}` this way; a rule for another host belongs in its host condition")]
    Host(String),
    /// Nothing to compare with.
    #[error("header `{0}` is compared with an empty text, which an ALB cannot do; give it at least one character")]
    Empty(String),
    /// ALB's rules see visible ASCII characters only.
    #[error("header `{header}` is compared with {value:?}, but an ALB compares visible ASCII characters only")]
    Invisible {
        /// The header.
        header: String,
        /// What it is compared with.
        value: String,
    },
    /// More than ALB takes.
    #[error(
        "header `{header}` is compared with `{value}`, which has {length} characters in a rule; an ALB takes at most {LONGEST_VALUE}"
    )]
    Long {
        /// The header.
        header: String,
        /// What a rule would compare it with.
        value: String,
        /// Its length in characters.
        length: usize,
    },
}

impl HeaderCondition {
    /// The header is this text, in whatever case.
    ///
    /// # Errors
    /// [`ConditionError`] where an ALB cannot compare so.
    pub fn exact(header: &str, text: &str) -> Result<Self, ConditionError> {
        Self::plain(header, text, "", "$")
    }

    /// The header begins with this text, in whatever case.
    ///
    /// # Errors
    /// [`ConditionError`] where an ALB cannot compare so.
    pub fn prefix(header: &str, text: &str) -> Result<Self, ConditionError> {
        Self::plain(header, text, "*", ".*$")
    }

    /// The header fits this regular expression. What an ALB's cannot do (lookaround, backreferences and so on), AWS refuses
    /// itself.
    ///
    /// # Errors
    /// [`ConditionError`] where an ALB cannot compare so.
    pub fn regex(header: &str, expression: &str) -> Result<Self, ConditionError> {
        check(header, expression)?;
        Self::checked(header, expression.to_owned(), true)
    }

    /// A text and what may follow it: `rest` after a text with wildcards, `end` after a regular expression.
    fn plain(header: &str, text: &str, rest: &str, end: &str) -> Result<Self, ConditionError> {
        check(header, text)?;
        // A backslash makes a wildcard a plain character in conditions on the query string; of those on headers AWS does not
        // say so. A regular expression can say it in any case.
        if text.contains(['*', '?', '\\']) {
            return Self::checked(header, format!("^{}{end}", escaped(text)), true);
        }
        Self::checked(header, format!("{text}{rest}"), false)
    }

    /// Checks what goes into the rule, which may be longer than what was written.
    fn checked(header: &str, value: String, is_regex: bool) -> Result<Self, ConditionError> {
        let length = value.chars().count();
        if length > LONGEST_VALUE {
            return Err(ConditionError::Long { header: header.to_owned(), value, length });
        }
        let (values, regex_values) = if is_regex { (Vec::new(), vec![value]) } else { (vec![value], Vec::new()) };
        Ok(Self { header: header.to_owned(), values, regex_values })
    }

    /// The condition as AWS takes it.
    pub(super) fn to_sdk(&self) -> RuleCondition {
        let some = |texts: &[String]| Some(texts.to_vec()).filter(|texts| !texts.is_empty());
        let config = HttpHeaderConditionConfig::builder()
            .http_header_name(&self.header)
            .set_values(some(&self.values))
            .set_regex_values(some(&self.regex_values))
            .build();
        RuleCondition::builder().field(FIELD).http_header_config(config).build()
    }

    /// The condition as AWS shows it; none if it is about something else.
    pub(super) fn from_sdk(condition: &RuleCondition) -> Option<Self> {
        if condition.field() != Some(FIELD) {
            return None;
        }
        let config = condition.http_header_config()?;
        // AWS takes regular expressions beside the field too, and does not say where it shows them.
        let inside = config.regex_values();
        Some(Self {
            header: config.http_header_name()?.to_owned(),
            values: config.values().to_vec(),
            regex_values: if inside.is_empty() { condition.regex_values() } else { inside }.to_vec(),
        })
    }

    /// Equal for conditions that an ALB does not tell apart.
    pub(super) fn sense(&self) -> (String, Vec<String>, Vec<String>) {
        let mut values: Vec<_> = self.values.iter().map(|value| value.to_ascii_lowercase()).collect();
        let mut regex_values = self.regex_values.clone();
        values.sort();
        regex_values.sort();
        (self.header.to_ascii_lowercase(), values, regex_values)
    }
}

/// Checks what a person wrote.
fn check(header: &str, text: &str) -> Result<(), ConditionError> {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if header.is_empty() || header.len() > LONGEST_NAME || !header.bytes().all(of_name) {
        return Err(ConditionError::Name(header.to_owned()));
    }
    if header.eq_ignore_ascii_case("host") {
        return Err(ConditionError::Host(header.to_owned()));
    }
    if text.is_empty() {
        return Err(ConditionError::Empty(header.to_owned()));
    }
    if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(ConditionError::Invisible { header: header.to_owned(), value: text.to_owned() });
    }
    Ok(())
}

/// A regular expression for this text and no other.
fn escaped(text: &str) -> String {
    let mut expression = String::with_capacity(text.len() * 2);
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            expression.push('\\');
        }
        expression.push(character);
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: &str) -> HeaderCondition {
        HeaderCondition { header: "x-canary".to_owned(), values: vec![value.to_owned()], regex_values: Vec::new() }
    }

    fn regex(value: &str) -> HeaderCondition {
        HeaderCondition { header: "x-canary".to_owned(), values: Vec::new(), regex_values: vec![value.to_owned()] }
    }

    #[test]
    fn a_matcher_becomes_a_text_with_wildcards_or_where_it_has_them_itself_a_regular_expression() {
        for (made, wanted) in [
            (HeaderCondition::exact("x-canary", "Yes please"), plain("Yes please")),
            (HeaderCondition::prefix("x-canary", "v2."), plain("v2.*")),
            (HeaderCondition::regex("x-canary", "^v[0-9]+$"), regex("^v[0-9]+$")),
            (HeaderCondition::exact("x-canary", r"a*b?c\d(1.0)"), regex(r"^a\*b\?c\\d\(1\.0\)$")),
            (HeaderCondition::prefix("x-canary", "text/*"), regex(r"^text/\*.*$")),
        ] {
            assert_eq!(made.unwrap(), wanted);
        }
    }

    #[test]
    fn what_an_alb_cannot_compare_is_said() {
        let long = "x".repeat(41);
        for (refused, words) in [
            (HeaderCondition::exact("", "a"), "`` is not a header's name"),
            (HeaderCondition::exact("x canary", "a"), "`x canary` is not a header's name"),
            (HeaderCondition::exact(&long, "a"), "1 to 40 letters"),
            (HeaderCondition::exact("Host", "a"), "host condition"),
            (HeaderCondition::exact("a", ""), "empty text"),
            (HeaderCondition::prefix("a", ""), "empty text"),
            (HeaderCondition::regex("a", ""), "empty text"),
            (HeaderCondition::exact("a", "b\nc"), "with \"b\\nc\", but an ALB compares visible ASCII"),
            (HeaderCondition::regex("a", "ü"), "visible ASCII"),
            (HeaderCondition::exact("a", &"b".repeat(129)), "129 characters in a rule"),
            (HeaderCondition::prefix("a", &"b".repeat(128)), "129 characters in a rule"),
            (HeaderCondition::exact("a", &"*".repeat(64)), "130 characters in a rule"),
            (HeaderCondition::regex("a", &"b".repeat(129)), "129 characters in a rule"),
        ] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        HeaderCondition::exact(&long[1..], &"b".repeat(128)).unwrap();
    }

    #[test]
    fn aws_shows_what_it_took() {
        for condition in [plain("a"), regex("b")] {
            assert_eq!(HeaderCondition::from_sdk(&condition.to_sdk()), Some(condition));
        }
        let mut beside = regex("b").to_sdk();
        beside.regex_values = beside.http_header_config.as_mut().unwrap().regex_values.take();
        assert_eq!(HeaderCondition::from_sdk(&beside), Some(regex("b")));
        assert_eq!(HeaderCondition::from_sdk(&RuleCondition::builder().field("path-pattern").build()), None);
    }
}
