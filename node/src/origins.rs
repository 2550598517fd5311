//! Where this node serves people, as it tells the other members: so a page whose gateway is gone knows where else to go.

use crate::config::GatewayConfig;

/// The section under which an origin is announced.
pub const SECTION: &str = "gateway";
/// First byte of the section.
const VERSION: u8 = 1;
/// Characters of an origin: the longest host name there can be, with scheme and port.
const ORIGIN_CHARACTERS_MAX: usize = 270;

/// What is announced: the configured address, else the one that the page is served at. Nothing where that says no more than "here on
/// every address", because then nobody else knows which.
#[must_use]
pub fn section(config: &GatewayConfig) -> Option<Vec<u8>> {
    let origin = match &config.public_url {
        Some(configured) => configured.trim_end_matches('/').to_owned(),
        None if config.listen.ip().is_unspecified() => return None,
        None => config.page(),
    };
    let section = [&[VERSION], origin.as_bytes()].concat();
    parse(&section).map(|_| section)
}

/// Reads what a member announced; what is no plain origin is none.
#[must_use]
pub fn parse(section: &[u8]) -> Option<String> {
    let (&VERSION, text) = section.split_first()? else {
        return None;
    };
    let origin = std::str::from_utf8(text).ok()?;
    let host = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let is_origin = !host.is_empty() && origin.len() <= ORIGIN_CHARACTERS_MAX && host.chars().all(is_plain);
    is_origin.then(|| origin.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_said_and_read_and_nothing_else_is_one() {
        let listen = "127.0.0.1:8080";
        let said = |public_url: Option<&str>, listen: &str| {
            let config = GatewayConfig {
                listen: listen.parse().unwrap(),
                public_url: public_url.map(str::to_owned),
                tls_certificate: None,
                tls_key: None,
                plain_http: false,
            };
            section(&config).and_then(|section| parse(&section))
        };
        assert_eq!(said(None, listen).as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(
            said(Some("https://chat.example.org/"), listen).as_deref(),
            Some("https://chat.example.org")
        );
        assert_eq!(said(None, "0.0.0.0:80"), None);
        for bad in [
            "javascript:alert(1)",
            "https://",
            "https://a/b",
            "https://a b",
            "https://a\"><script>",
        ] {
            assert_eq!(said(Some(bad), listen), None, "{bad}");
        }
        assert_eq!(parse(&[2, b'h']), None);
    }
}
