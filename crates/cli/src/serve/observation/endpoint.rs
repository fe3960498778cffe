//! The endpoints that requests are counted by.

/// What a request is for. The set is closed, so that no client can make up values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Verify,
    Introspect,
    Revoke,
    Api,
    Dashboard,
    Other,
}

impl Endpoint {
    pub(super) const ALL: [Self; 6] = [
        Self::Verify,
        Self::Introspect,
        Self::Revoke,
        Self::Api,
        Self::Dashboard,
        Self::Other,
    ];

    /// Returns the endpoint of a path.
    pub(super) fn of(path: &str) -> Self {
        let mut segments = path.split('/').skip(1);
        match (segments.next(), segments.next()) {
            (Some("verify"), _) => Self::Verify,
            (Some("introspect"), None) => Self::Introspect,
            (Some("revoke"), None) => Self::Revoke,
            (Some("api"), _) => Self::Api,
            (Some("tokens"), _) => Self::Dashboard,
            _ => Self::Other,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
            Self::Api => "api",
            Self::Dashboard => "dashboard",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_one_of_the_endpoints() {
        for (path, expected) in [
            ("/verify", "verify"),
            ("/verify/any/orders", "verify"),
            ("/introspect", "introspect"),
            ("/introspect/more", "other"),
            ("/revoke", "revoke"),
            ("/api", "api"),
            ("/api/tokens/1", "api"),
            ("/tokens", "dashboard"),
            ("/tokens/", "dashboard"),
            ("/tokens.csv", "other"),
            ("/", "other"),
            ("*", "other"),
        ] {
            assert_eq!(Endpoint::of(path).name(), expected, "{path}");
        }
    }
}
