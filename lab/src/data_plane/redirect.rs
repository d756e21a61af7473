//! Where a redirect leads. Source: API reference, RedirectActionConfig.

use crate::control_plane::model::shapes::RedirectConfig;
use crate::data_plane::conditions::RequestHead;

/// The `Location` header. What the config leaves open is as in the request; the port is always written out, as AWS does.
pub(super) fn location(config: &RedirectConfig, head: &RequestHead<'_>, scheme: &str, port: u16) -> String {
    let fill = |part: &Option<String>, otherwise: &str| {
        part.as_deref()
            .unwrap_or(otherwise)
            .replace("#{protocol}", scheme)
            .replace("#{host}", head.host)
            .replace("#{port}", &port.to_string())
            .replace("#{path}", head.path.trim_start_matches('/'))
            .replace("#{query}", head.query.unwrap_or_default())
    };
    let scheme = fill(&config.protocol, "#{protocol}").to_ascii_lowercase();
    let (host, port) = (fill(&config.host, "#{host}"), fill(&config.port, "#{port}"));
    let (path, query) = (fill(&config.path, "/#{path}"), fill(&config.query, "#{query}"));
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{scheme}://{host}:{port}{path}{mark}{query}")
}

/// 301 or 302.
pub(super) fn status(config: &RedirectConfig) -> u16 {
    if config.status_code == "HTTP_301" { 301 } else { 302 }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hyper::header::HeaderMap;

    use super::*;

    #[test]
    fn what_is_left_open_stays_as_it_was() {
        let headers = HeaderMap::new();
        let head = RequestHead {
            listener_arn: "",
            source: IpAddr::from([127, 0, 0, 1]),
            method: "GET",
            host: "shop.example.com",
            path: "/cart",
            query: Some("id=7"),
            headers: &headers,
        };
        let to = |config: RedirectConfig, head: RequestHead<'_>| location(&config, &head, "http", 80);
        let https = RedirectConfig {
            protocol: Some("HTTPS".to_owned()),
            port: Some("443".to_owned()),
            ..RedirectConfig::default()
        };
        assert_eq!(to(https.clone(), head), "https://shop.example.com:443/cart?id=7");
        assert_eq!(to(https, RequestHead { query: None, ..head }), "https://shop.example.com:443/cart");
        let elsewhere = RedirectConfig {
            host: Some("new.#{host}".to_owned()),
            path: Some("/old/#{path}".to_owned()),
            query: Some(String::new()),
            ..RedirectConfig::default()
        };
        assert_eq!(to(elsewhere, head), "http://new.shop.example.com:80/old/cart");
    }
}
