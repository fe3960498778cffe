//! Addresses in the configuration of the host: paths of its own origin, and web addresses.

use super::origin::Origin;

/// The maximum length of an address, in bytes.
const MAX_LEN: usize = 2048;

/// Returns whether a text is a path that stays on the origin of the page: it starts with exactly one
/// `/`, because browsers read `//` as the start of a host, and has no `\`, which they read as `/`.
/// Browsers remove tabs and line breaks before they parse an address, so a path has none of those
/// either.
pub(super) fn is_local_path(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//") && is_written(text)
}

/// Returns whether a text is an `http` or `https` URL without credentials.
pub(super) fn is_web_url(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let tail = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
    let origin = text.strip_suffix(tail).unwrap_or(text);
    Origin::parse(origin).is_ok() && is_written(text)
}

/// Returns whether a text has only characters that may be part of a URL.
fn is_written(text: &str) -> bool {
    let is_allowed = |byte: u8| {
        byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'^' | b'`')
    };
    text.len() <= MAX_LEN && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_on_its_origin() {
        for good in [
            "/",
            "/logo.svg",
            "/tokens?status=active&name=a%20b",
            "/a/../b#c",
            "/a//b",
            "/%5Cevil.example",
        ] {
            assert!(is_local_path(good), "{good}");
        }
        for bad in [
            "",
            "logo.svg",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/a\\b",
            "/\t/evil.example",
            "\t//evil.example",
            "/\n/evil.example",
            " /a",
            "/a b",
            "/a\0",
            "/é",
            "/a\"b",
            "/a<b>",
            "https://evil.example",
            "javascript:alert(1)",
            "?a",
            "#a",
            &format!("/{}", "a".repeat(2048)),
        ] {
            assert!(!is_local_path(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_web_url_is_http_or_https() {
        for good in [
            "https://acme.example",
            "http://localhost:3000/",
            "https://acme.example?a=b",
            "https://acme.example#a",
            "HTTPS://Acme.example/docs?x=y#z",
            "https://[::1]:8443/a",
        ] {
            assert!(is_web_url(good), "{good}");
        }
        for bad in [
            "",
            "acme.example",
            "/docs",
            "//acme.example/docs",
            "javascript://acme.example/%0aalert(1)",
            "javascript:alert(1)",
            "data:text/html,a",
            "ftp://acme.example",
            "https://",
            "https:///docs",
            "https://user@acme.example/",
            "https://user:password@acme.example/",
            "https://acme.example\\docs",
            "https://acme.example/\\docs",
            "https://acme.example/a b",
            "https://acme.example/\"onclick=\"",
            " https://acme.example",
        ] {
            assert!(!is_web_url(bad), "{bad:?}");
        }
    }
}
