//! Transforms of a rule. Source: user guide for Application Load Balancers, "Transforms for listener rules".

use crate::control_plane::error::ApiError;
use crate::control_plane::model::shapes::{RewriteConfig, Transform, TransformType};
use crate::control_plane::validate::within;

const MAX_REGEX: usize = 1024;

/// At most one transform of each type, with the config of its own type.
pub(crate) fn transforms(transforms: Vec<Transform>) -> Result<Vec<Transform>, ApiError> {
    for (index, transform) in transforms.iter().enumerate() {
        if transforms.iter().skip(index + 1).any(|other| other.r#type == transform.r#type) {
            return Err(ApiError::validation("A rule can have one host header rewrite and one URL rewrite"));
        }
        let config = match (transform.r#type, &transform.host_header_rewrite_config, &transform.url_rewrite_config) {
            (TransformType::HostHeaderRewrite, Some(config), None)
            | (TransformType::UrlRewrite, None, Some(config)) => config,
            _ => return Err(ApiError::validation("A transform needs the settings of its own type and no other")),
        };
        rewrites(config)?;
    }
    Ok(transforms)
}

fn rewrites(config: &RewriteConfig) -> Result<(), ApiError> {
    if config.rewrites.is_empty() {
        return Err(ApiError::validation("A transform needs a rewrite"));
    }
    for rewrite in &config.rewrites {
        within("the length of Regex", rewrite.regex.chars().count(), 1, MAX_REGEX)?;
        within("the length of Replace", rewrite.replace.chars().count(), 0, MAX_REGEX)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::model::shapes::Rewrite;

    fn config(regex: &str) -> Option<RewriteConfig> {
        Some(RewriteConfig { rewrites: vec![Rewrite { regex: regex.to_owned(), replace: "$1".to_owned() }] })
    }

    fn host() -> Transform {
        Transform {
            r#type: TransformType::HostHeaderRewrite,
            host_header_rewrite_config: config("^(.*)$"),
            url_rewrite_config: None,
        }
    }

    fn url() -> Transform {
        Transform {
            r#type: TransformType::UrlRewrite,
            host_header_rewrite_config: None,
            url_rewrite_config: config("^(.*)$"),
        }
    }

    #[test]
    fn one_of_each_type_is_kept() {
        assert_eq!(transforms(vec![host(), url()]), Ok(vec![host(), url()]));
        assert_eq!(transforms(vec![]), Ok(vec![]));
    }

    #[test]
    fn anything_else_is_refused() {
        let two_alike = vec![url(), url()];
        let of_another_type = vec![Transform { r#type: TransformType::UrlRewrite, ..host() }];
        let without_settings = vec![Transform { url_rewrite_config: None, ..url() }];
        let without_rewrite = vec![Transform { url_rewrite_config: Some(RewriteConfig::default()), ..url() }];
        let too_long = vec![Transform { url_rewrite_config: config(&"a".repeat(MAX_REGEX + 1)), ..url() }];
        for bad in [two_alike, of_another_type, without_settings, without_rewrite, too_long] {
            let error = transforms(bad.clone()).expect_err("must be refused");
            assert_eq!(error.code, "ValidationError", "{bad:?}");
        }
    }
}
