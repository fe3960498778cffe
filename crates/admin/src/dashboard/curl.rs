//! Commands to copy: to try a token, or to recover from a lockout.

use askama::{Template, filters::HtmlSafe};

/// A command with a button that copies it.
#[derive(Template)]
#[template(path = "snippet.html")]
pub(super) struct Snippet {
    id: &'static str,
    text: String,
}

impl HtmlSafe for Snippet {}

impl Snippet {
    /// Creates a snippet of the command-line tool.
    pub(super) fn command(id: &'static str, text: String) -> Self {
        Self { id, text }
    }

    /// Creates a `curl` command that takes the token from the shell variable `TOKEN`.
    pub(super) fn with_variable(id: &'static str, url: &str) -> Self {
        let url = quoted(url);
        let text = format!("curl -H \"Authorization: Bearer $TOKEN\" {url}");
        Self { id, text }
    }
}

/// Returns a `curl` command that contains the token.
pub(super) fn with_token(token: &str, url: &str) -> String {
    let url = quoted(url);
    format!("curl -H 'Authorization: Bearer {token}' {url}")
}

/// Quotes a word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/@%+=,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_quoted_for_the_shell() {
        assert_eq!(quoted("https://a.example:8/x"), "https://a.example:8/x");
        assert_eq!(quoted("https://a/?b=1&c"), "'https://a/?b=1&c'");
        assert_eq!(quoted("a'; rm x"), "'a'\\''; rm x'");
        assert_eq!(quoted(""), "''");
    }
}
