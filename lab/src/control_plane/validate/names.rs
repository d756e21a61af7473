//! Names, numbers and tags.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::control_plane::error::ApiError;
use crate::control_plane::model::Tags;
use crate::control_plane::model::shapes::Tag;

/// Tags per resource (quota of the tagging service).
const MAX_TAGS: usize = 50;

/// Refuses a number outside the range, bounds included.
pub(crate) fn within<T: PartialOrd + Display>(what: &str, value: T, least: T, most: T) -> Result<(), ApiError> {
    if value < least || value > most {
        return Err(ApiError::validation(format!("{what} is '{value}', but must be between {least} and {most}")));
    }
    Ok(())
}

/// The name of a load balancer or target group: up to 32 letters, digits and hyphens, no hyphen at either end.
pub(crate) fn name(noun: &str, name: &str) -> Result<(), ApiError> {
    let sound = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if sound { Ok(()) } else { Err(ApiError::validation(format!("The {noun} name '{name}' is not valid"))) }
}

pub(crate) fn priority(priority: u16) -> Result<(), ApiError> {
    within("Priority", priority, 1, 50_000)
}

/// Adds tags to those that are there; a key that is there already gets the new value.
pub(crate) fn tags(existing: &Tags, added: &[Tag]) -> Result<Tags, ApiError> {
    let mut keys = BTreeSet::new();
    let mut tags = existing.clone();
    for tag in added {
        within("the length of a tag key", tag.key.chars().count(), 1, 128)?;
        within("the length of a tag value", tag.value.chars().count(), 0, 256)?;
        if !keys.insert(&tag.key) {
            return Err(ApiError::new(
                "DuplicateTagKeys",
                format!("The tag key '{}' is specified more than once", tag.key),
            ));
        }
        tags.insert(tag.key.clone(), tag.value.clone());
    }
    if tags.len() > MAX_TAGS {
        return Err(ApiError::new("TooManyTags", format!("A resource can have at most {MAX_TAGS} tags")));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_letters_digits_and_inner_hyphens() {
        for good in ["a", "shop-stable", "A1", &"a".repeat(32)] {
            assert_eq!(name("target group", good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "a_b", "a b", "ä", &"a".repeat(33)] {
            assert!(name("target group", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_are_added_replaced_and_counted() {
        let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
        let first = tags(&Tags::new(), &[tag("a", "1"), tag("b", "2")]).expect("two tags");
        let second = tags(&first, &[tag("b", "3")]).expect("one replaced");
        assert_eq!(second, Tags::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "3".to_owned())]));

        let twice = tags(&first, &[tag("c", "1"), tag("c", "2")]).expect_err("a key twice");
        assert_eq!(twice.code, "DuplicateTagKeys");
        let many: Vec<Tag> = (0..49).map(|number| tag(&format!("k{number}"), "")).collect();
        assert_eq!(tags(&first, &many).expect_err("51 tags").code, "TooManyTags");
        assert_eq!(tags(&first, &[tag("", "")]).expect_err("an empty key").code, "ValidationError");
    }
}
