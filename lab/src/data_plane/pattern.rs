//! Texts with wildcards and networks: what the values of conditions are compared with.
//!
//! Sources: user guide for Application Load Balancers, "Condition types for listener rules"; API reference of the condition configs.

use std::net::IpAddr;

/// A text in which `*` stands for any characters, none included, and `?` for exactly one.
#[derive(Debug)]
pub(super) struct Glob {
    tokens: Vec<Token>,
    ignores_case: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Any,
    One,
    Byte(u8),
}

/// Addresses that begin with the same bits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u32,
}

impl Glob {
    /// Upper and lower case are different.
    pub(super) fn exact(pattern: &str) -> Self {
        Self { tokens: tokens(pattern, false), ignores_case: false }
    }

    /// Upper and lower case of ASCII letters are the same.
    pub(super) fn any_case(pattern: &str) -> Self {
        Self { tokens: tokens(pattern, false), ignores_case: true }
    }

    /// As of a query string: any case, and a backslash takes their meaning from `*` and `?`.
    pub(super) fn of_query(pattern: &str) -> Self {
        Self { tokens: tokens(pattern, true), ignores_case: true }
    }

    /// The whole text fits.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let (mut token, mut byte) = (0, 0);
        // Where to go on if it does not fit from here: just after the last `*`, with one byte more given to it.
        let mut retry: Option<(usize, usize)> = None;
        while let Some(&current) = text.get(byte) {
            match self.tokens.get(token) {
                Some(Token::Any) => {
                    token += 1;
                    retry = Some((token, byte));
                }
                Some(Token::One) => (token, byte) = (token + 1, byte + 1),
                Some(Token::Byte(wanted)) if self.same(*wanted, current) => (token, byte) = (token + 1, byte + 1),
                _ => {
                    let Some((after, given)) = retry else { return false };
                    (token, byte) = (after, given + 1);
                    retry = Some((after, byte));
                }
            }
        }
        self.tokens.iter().skip(token).all(|rest| *rest == Token::Any)
    }

    fn same(&self, wanted: u8, found: u8) -> bool {
        if self.ignores_case { wanted.eq_ignore_ascii_case(&found) } else { wanted == found }
    }
}

impl Network {
    /// Reads CIDR notation; `None` if it is not that.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        Some(Self { address: address.parse().ok()?, bits: bits.parse().ok()? })
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let (width, difference) = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (32, u128::from(ours.to_bits() ^ theirs.to_bits())),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (128, ours.to_bits() ^ theirs.to_bits()),
            _ => return false,
        };
        // The bits after the prefix may differ; a shift by the whole width leaves nothing to differ.
        self.bits <= width && difference.checked_shr(width - self.bits).unwrap_or(0) == 0
    }
}

fn tokens(pattern: &str, escapes: bool) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.bytes().peekable();
    while let Some(byte) = bytes.next() {
        tokens.push(match byte {
            b'\\' if escapes => bytes.next_if(|next| b"*?".contains(next)).map_or(Token::Byte(byte), Token::Byte),
            b'*' => Token::Any,
            b'?' => Token::One,
            _ => Token::Byte(byte),
        });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("shop.example.com", "shop.example.com", true),
            ("shop.example.com", "Shop.Example.COM", true),
            ("shop.example.com", "shop.example.com.evil", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("/img/*/pics", "/img/a/b/pics", true),
            ("/img/*/pics", "/img/pics", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "abab", true),
            ("*a*b", "aba", false),
            ("?", "", false),
            ("?", "x", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a**c", "ac", true),
        ] {
            assert_eq!(Glob::any_case(pattern).matches(text.as_bytes()), expected, "{pattern} against {text}");
        }
        assert!(!Glob::exact("/Img").matches(b"/img"));
        assert!(Glob::of_query(r"2\*2").matches(b"2*2"));
        assert!(!Glob::of_query(r"2\*2").matches(b"2xx2"));
        assert!(Glob::exact(r"2\*2").matches(br"2\xx2"));
    }

    #[test]
    fn wildcards_agree_with_regular_expressions() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut matches = 0;
        for _ in 0..20_000 {
            let draw = |rng: &mut fastrand::Rng, from: &[char], most: usize| -> String {
                (0..rng.usize(0..=most)).map(|_| from[rng.usize(..from.len())]).collect()
            };
            let pattern = draw(&mut rng, &['a', 'b', '*', '?'], 6);
            let text = draw(&mut rng, &['a', 'b'], 7);
            let regex = format!("^{}$", pattern.replace('*', ".*").replace('?', "."));
            let regex = regex::bytes::RegexBuilder::new(&regex).unicode(false).build().expect("a sound expression");
            let expected = regex.is_match(text.as_bytes());
            assert_eq!(Glob::exact(&pattern).matches(text.as_bytes()), expected, "{pattern} against {text}");
            matches += usize::from(expected);
        }
        assert!(matches > 1000, "only {matches} of the texts fit");
    }

    #[test]
    fn networks() {
        let contains = |network: &str, address: &str| {
            Network::parse(network).expect("a network").contains(address.parse().expect("an address"))
        };
        assert!(contains("127.0.0.0/8", "127.9.9.9"));
        assert!(!contains("127.0.0.0/8", "128.0.0.0"));
        assert!(contains("10.1.2.3/32", "10.1.2.3"));
        assert!(!contains("10.1.2.3/32", "10.1.2.2"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1"));
        assert!(contains("::/0", "::1"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(!contains("10.0.0.0/33", "10.0.0.0"));
        assert_eq!(Network::parse("10.0.0.0"), None);
    }
}
