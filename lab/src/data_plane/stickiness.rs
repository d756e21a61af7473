//! Stickiness of target groups: the cookies `AWSALBTG` and `AWSALBTGCORS`.
//!
//! Source: user guide for Application Load Balancers, "Sticky sessions": after it first routes a request to a weighted target
//! group, the load balancer hands out a cookie that names the group, and requests that bring it go there. Not documented, so
//! assumed, to the worse for someone who shifts weights: this holds at weight 0 too. A cookie lasts `DurationSeconds`
//! from the first choice, and is not renewed while it is obeyed. AWS encrypts it; here it can be read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{COOKIE, HeaderMap};

/// The second one is for requests across origins, where browsers want `SameSite=None`.
const NAMES: [&str; 2] = ["AWSALBTG", "AWSALBTGCORS"];

/// What a client gets so that its next requests go to the same group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cookie {
    value: String,
    expires: SystemTime,
}

impl Cookie {
    pub(super) fn new(group_arn: &str, now: SystemTime, lasts: Duration) -> Self {
        let expires = now + lasts;
        let ms = expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self { value: format!("{}.{ms}", id(group_arn)), expires }
    }

    /// The values of the two `Set-Cookie` headers.
    pub(super) fn headers(&self) -> [String; 2] {
        let Self { value, expires } = self;
        let expires = httpdate::fmt_http_date(*expires);
        let [plain, cors] = NAMES;
        [
            format!("{plain}={value}; Expires={expires}; Path=/"),
            format!("{cors}={value}; Expires={expires}; Path=/; SameSite=None; Secure"),
        ]
    }
}

/// The group, out of those that a rule forwards to, that a cookie of the request names.
pub(super) fn named<'a>(
    headers: &HeaderMap,
    now: SystemTime,
    groups: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let pairs = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut values = pairs.flat_map(|pairs| pairs.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        NAMES.contains(&name).then_some(value)
    });
    values.find_map(|value| {
        let (named, ms) = value.split_once('.')?;
        let expires = UNIX_EPOCH.checked_add(Duration::from_millis(ms.parse().ok()?))?;
        if now < expires { groups.clone().find(|group| id(group) == named) } else { None }
    })
}

/// The part of an ARN that no other target group has.
fn id(group_arn: &str) -> &str {
    group_arn.rsplit('/').next().unwrap_or(group_arn)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const GROUPS: [&str; 2] =
        ["arn:x:targetgroup/stable/0000000000000001", "arn:x:targetgroup/canary/0000000000000002"];

    fn sent(cookies: &[&str], now: SystemTime) -> Option<&'static str> {
        let headers: HeaderMap =
            (cookies.iter()).map(|cookie| (COOKIE, HeaderValue::from_str(cookie).expect("a sound header"))).collect();
        named(&headers, now, GROUPS.into_iter())
    }

    #[test]
    fn a_cookie_names_its_group_until_it_expires() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let cookie = Cookie::new(GROUPS[1], now, Duration::from_secs(10));
        let [plain, cors] = cookie.headers();
        assert!(plain.contains("Expires=Mon, 12 Jan 1970 13:46:50 GMT"), "{plain}");
        assert!(cors.ends_with("SameSite=None; Secure"), "{cors}");
        for set in [&plain, &cors] {
            let pair = set.split(';').next().expect("a pair");
            let among_others = format!("theme=dark; {pair}; lang=en");
            assert_eq!(sent(&["a=b", &among_others], now + Duration::from_millis(9_999)), Some(GROUPS[1]));
            assert_eq!(sent(&[pair], now + Duration::from_secs(10)), None);
        }
    }

    #[test]
    fn other_cookies_name_nothing() {
        let now = UNIX_EPOCH;
        for cookie in [
            "AWSALBTG=0000000000000003.99999",
            "AWSALBTG=0000000000000002",
            "AWSALBTG=0000000000000002.x",
            "AWSALBTG=0000000000000002.18446744073709551615",
            "AWSALB=0000000000000002.99999",
            "AWSALBTG",
            "",
        ] {
            let expected = cookie.ends_with(".18446744073709551615").then_some(GROUPS[1]);
            assert_eq!(sent(&[cookie], now), expected, "{cookie}");
        }
    }
}
