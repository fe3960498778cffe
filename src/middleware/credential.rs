//! Extracts the credential from a request's header fields.
//!
//! Nothing is decoded or copied, except the base64 of a Basic credential. The format of the token
//! is only checked before a lookup, so that a cached token is not checked again and again.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use zeroize::Zeroizing;

use super::{RequestHead, fields::Fields};
use crate::{
    authenticator::MAX_PRESENTED_LEN,
    rejection::{CredentialFault, Misplaced},
};

/// The configured locations of a token in a request.
#[derive(Clone, Debug, Default)]
pub(super) struct CredentialSources {
    pub(super) basic: bool,
    /// The halves of a Basic credential may be percent-encoded.
    pub(super) percent_encoded: bool,
    pub(super) api_key_header: Option<HeaderName>,
}

/// A token as the client sent it.
pub(super) enum Presented<'h> {
    /// The value of a header field, or its part after the scheme.
    Token(&'h [u8]),
    Basic(UserAndPassword),
}

/// The user name and the password of a Basic credential.
pub(super) struct UserAndPassword([Zeroizing<Vec<u8>>; 2]);

impl UserAndPassword {
    fn halves(&self) -> [&[u8]; 2] {
        self.0.each_ref().map(|half| &***half)
    }

    /// The token: the password, or the user name if the password is empty, as `curl -u "$TOKEN:"` sends it.
    pub(super) fn token(&self) -> &[u8] {
        match self.halves() {
            [user, []] => user,
            [_, password] => password,
        }
    }
}

impl CredentialSources {
    /// Finds the credential, if any, and marks its field as sensitive, which keeps it out of
    /// `Debug` output and out of the tables of HTTP/2 header compression.
    #[inline]
    pub(super) fn extract<'h, F: Fields>(
        &self,
        fields: &'h mut F,
    ) -> Result<Option<Presented<'h>>, CredentialFault> {
        self.extract_up_to::<MAX_PRESENTED_LEN, F>(fields)
    }

    /// Whether the only credential passes `is_recognized`, or one half of a Basic credential does. One that is
    /// longer than any token is read all the same. Credentials that are joined, and those that cannot be read,
    /// count as recognized.
    pub(super) fn is_recognized<F: Fields>(
        &self,
        fields: &mut F,
        is_recognized: impl Fn(&[u8]) -> bool,
    ) -> bool {
        let is_word = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
        match self.extract_up_to::<{ usize::MAX }, F>(fields) {
            Ok(Some(Presented::Token(token))) => {
                token.is_empty() || !token.iter().all(is_word) || is_recognized(token)
            }
            Ok(Some(Presented::Basic(basic))) => basic.halves().into_iter().any(is_recognized),
            Ok(None) | Err(_) => true,
        }
    }

    #[inline]
    fn extract_up_to<'h, const MAX: usize, F: Fields>(
        &self,
        fields: &'h mut F,
    ) -> Result<Option<Presented<'h>>, CredentialFault> {
        let Some(name) = &self.api_key_header else {
            return match sole_field(fields, &AUTHORIZATION)? {
                Some(value) => self.read_authorization::<MAX>(value),
                None => Ok(None),
            };
        };
        sole_field(fields, &AUTHORIZATION)?;
        sole_field(fields, name)?;
        let headers = fields.map();
        let value = |name| Some(trim(headers.get(name)?.as_bytes()));
        let authorization = match value(&AUTHORIZATION) {
            Some(value) => self.read_authorization::<MAX>(value)?,
            None => None,
        };
        match (authorization, value(name)) {
            (Some(_), Some(_)) => Err(CredentialFault::TwoPlaces),
            (None, Some(value)) => bounded::<MAX>(value).map(|key| Some(Presented::Token(key))),
            (authorization, None) => Ok(authorization),
        }
    }

    /// Where a request without a credential seems to have put its token. Only looks at names.
    pub(super) fn misplaced(&self, request: RequestHead<'_>) -> Option<Misplaced> {
        let RequestHead { uri, headers, .. } = request;
        let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let authorization = trim(authorization.unwrap_or_default());
        let is_configured = |name| self.api_key_header.as_ref() == Some(name);
        if !authorization.is_empty() && !self.reads_scheme_of(authorization) {
            Some(Misplaced::Scheme)
        } else if headers
            .keys()
            .any(|name| names_a_token(name.as_str()) && !is_configured(name))
        {
            Some(Misplaced::Header)
        } else if uri.query().is_some_and(has_token_parameter) {
            Some(Misplaced::Query)
        } else {
            None
        }
    }

    /// Whether the scheme of this credential is enabled.
    fn reads_scheme_of(&self, authorization: &[u8]) -> bool {
        let end = authorization.iter().position(|byte| !is_tchar(*byte));
        let scheme = &authorization[..end.unwrap_or(authorization.len())];
        scheme.eq_ignore_ascii_case(b"Bearer")
            || (self.basic && scheme.eq_ignore_ascii_case(b"Basic"))
    }

    /// Marks every field that may hold a token as sensitive.
    pub(super) fn mark_sensitive<F: Fields>(&self, fields: &mut F) {
        fields.mark_sensitive(&AUTHORIZATION);
        if let Some(name) = &self.api_key_header {
            fields.mark_sensitive(name);
        }
    }

    #[inline]
    fn read_authorization<'h, const MAX: usize>(
        &self,
        value: &'h [u8],
    ) -> Result<Option<Presented<'h>>, CredentialFault> {
        if let Some((scheme, token)) = value.split_first_chunk()
            && (scheme == b"Bearer " || scheme.eq_ignore_ascii_case(b"Bearer "))
            && token.first().is_some_and(u8::is_ascii_alphanumeric)
        {
            // A shortcut for what almost every request carries; the general rules below give the
            // same result.
            return bounded::<MAX>(value).map(|_| Some(Presented::Token(token)));
        }
        let end = value.iter().position(|byte| !is_tchar(*byte));
        let (scheme, rest) = value.split_at(end.unwrap_or(value.len()));
        if scheme.eq_ignore_ascii_case(b"Bearer") {
            bounded::<MAX>(value)?;
            after_spaces(rest).map(|token| Some(Presented::Token(token)))
        } else if self.basic && scheme.eq_ignore_ascii_case(b"Basic") {
            bounded::<MAX>(value)?;
            after_spaces(rest)
                .map_err(|_| CredentialFault::Basic)
                .and_then(|encoded| read_basic(encoded, self.percent_encoded))
                .map(|basic| Some(Presented::Basic(basic)))
        } else if scheme.is_empty() && !rest.is_empty() {
            Err(CredentialFault::Grammar)
        } else if self.joins_another(rest) {
            Err(CredentialFault::Repeated)
        } else {
            Ok(None)
        }
    }

    /// Whether an accepted credential is joined to one of another scheme by a comma, as an
    /// intermediary may do when it combines two fields.
    fn joins_another(&self, value: &[u8]) -> bool {
        value.split(|byte| *byte == b',').skip(1).any(|part| {
            let part = trim(part);
            let end = part.iter().position(|byte| !is_tchar(*byte));
            let scheme = &part[..end.unwrap_or(part.len())];
            scheme.eq_ignore_ascii_case(b"Bearer")
                || (self.basic && scheme.eq_ignore_ascii_case(b"Basic"))
        })
    }
}

/// Whether other services use this header field for an API key.
fn names_a_token(name: &str) -> bool {
    matches!(
        name,
        "x-api-key"
            | "api-key"
            | "apikey"
            | "x-apikey"
            | "api_key"
            | "x_api_key"
            | "access_token"
            | "x-api-token"
            | "api-token"
            | "x-auth-token"
            | "auth-token"
            | "x-access-token"
            | "access-token"
            | "x-auth-key"
            | "x-token"
            | "token"
    )
}

/// Whether the query has a parameter that other services read a token from.
fn has_token_parameter(query: &str) -> bool {
    const NAMES: [&str; 9] = [
        "api_key",
        "api-key",
        "apikey",
        "access_token",
        "auth_token",
        "api_token",
        "bearer_token",
        "token",
        "key",
    ];
    query.split('&').any(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// The value of a field that may occur only once, marked as sensitive and without surrounding white
/// space. HTTP/1 servers remove that white space; HTTP/2 servers do not.
#[inline]
fn sole_field<'h, F: Fields>(
    fields: &'h mut F,
    name: &HeaderName,
) -> Result<Option<&'h [u8]>, CredentialFault> {
    let headers = fields.map();
    let some_repeat = headers.len() != headers.keys_len();
    if some_repeat && headers.get_all(name).iter().nth(1).is_some() {
        return Err(CredentialFault::Repeated);
    }
    Ok(fields.secret(name).map(|value| trim(value.as_bytes())))
}

#[inline]
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn bounded<const MAX: usize>(value: &[u8]) -> Result<&[u8], CredentialFault> {
    if value.len() > MAX {
        return Err(CredentialFault::TooLong);
    }
    Ok(value)
}

/// The rest of the value after the spaces that follow a scheme (RFC 9110 section 11.4).
fn after_spaces(rest: &[u8]) -> Result<&[u8], CredentialFault> {
    match rest.iter().position(|byte| *byte != b' ') {
        Some(spaces) if spaces > 0 => Ok(&rest[spaces..]),
        _ => Err(CredentialFault::Grammar),
    }
}

/// Decodes a Basic credential (RFC 7617 section 2).
fn read_basic(encoded: &[u8], percent_encoded: bool) -> Result<UserAndPassword, CredentialFault> {
    let mut text = Zeroizing::new(vec![0; base64::decoded_len_estimate(encoded.len())]);
    let length = STANDARD
        .decode_slice(encoded, &mut text)
        .map_err(|_| CredentialFault::Basic)?;
    text.truncate(length);
    let colon = text.iter().position(|byte| *byte == b':');
    let Some(colon) = colon.filter(|_| std::str::from_utf8(&text).is_ok()) else {
        return Err(CredentialFault::Basic);
    };
    let halves = [&text[..colon], &text[colon + 1..]];
    Ok(UserAndPassword(halves.map(|half| match percent_encoded {
        true => percent_decoded(half),
        false => Zeroizing::new(half.to_vec()),
    })))
}

/// Replaces each percent sign and two hexadecimal digits by the byte that they stand for. A text that would not be
/// UTF-8 then stays as it is.
fn percent_decoded(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let escaped = || Some(digit(at + 1)? * 16 + digit(at + 2)?);
        let escaped = (byte == b'%').then(escaped).flatten();
        match escaped.and_then(|byte| u8::try_from(byte).ok()) {
            Some(escaped) => {
                decoded.push(escaped);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    match std::str::from_utf8(&decoded) {
        Ok(_) => decoded,
        Err(_) => Zeroizing::new(text.to_vec()),
    }
}

/// Whether a byte may occur in a scheme, which is a `token` of RFC 9110 section 5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    fn sources() -> CredentialSources {
        CredentialSources {
            basic: true,
            percent_encoded: false,
            api_key_header: Some(HeaderName::from_static("x-api-key")),
        }
    }

    proptest! {
        #[test]
        fn arbitrary_values_are_read_or_refused_without_a_panic(
            authorization in proptest::collection::vec(any::<u8>(), 0..80),
            key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
            scheme in "(Bearer|bearer|Basic|Digest|)[ \t]{0,3}",
        ) {
            let mut headers = HeaderMap::new();
            let value = [scheme.as_bytes(), &authorization].concat();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.insert(AUTHORIZATION, value);
            }
            if let Some(Ok(key)) = key.map(|key| HeaderValue::from_bytes(&key)) {
                headers.insert("x-api-key", key);
            }
            let both = headers.len() == 2;
            if let Ok(Some(_)) = sources().extract(&mut headers) {
                prop_assert!(!both || CredentialSources::default().extract(&mut headers).is_ok_and(|c| c.is_none()));
            }
        }

        #[test]
        fn a_basic_password_is_read_back(user in "[^:]{0,20}", password in "\\PC{1,40}") {
            let encoded = STANDARD.encode(format!("{user}:{password}"));
            let Ok(basic) = read_basic(encoded.as_bytes(), false) else {
                return Err(TestCaseError::fail("refused"));
            };
            prop_assert_eq!(basic.token(), password.as_bytes());
            prop_assert_eq!(basic.halves(), [user.as_bytes(), password.as_bytes()]);
        }
    }

    #[test]
    fn the_halves_of_a_basic_credential_are_percent_decoded_if_that_is_enabled() {
        for (pair, user, password) in [
            ("a:b", "a", "b"),
            ("a%3Ab:c%5fd%5F", "a:b", "c_d_"),
            ("100%:c%5", "100%", "c%5"),
            ("%zz:%255F+", "%zz", "%5F+"),
            ("%5F:", "_", ""),
            ("%FF:%5F%FF", "%FF", "%5F%FF"),
        ] {
            let encoded = STANDARD.encode(pair);
            let Ok(decoded) = read_basic(encoded.as_bytes(), true) else {
                panic!("{pair} is refused");
            };
            assert_eq!(decoded.halves(), [user.as_bytes(), password.as_bytes()]);
            let Ok(plain) = read_basic(encoded.as_bytes(), false) else {
                panic!("{pair} is refused");
            };
            assert_eq!(plain.halves().join(&b':'), pair.as_bytes());
        }
    }

    #[test]
    fn a_bearer_credential_joined_to_another_is_recognized() {
        for joined in [
            "Basic QQ==, Bearer t",
            "Digest a=\"b\",bearer t",
            "Basic QQ==,\tBEARER",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, joined.parse().unwrap());
            let fault = CredentialSources::default().extract(&mut headers).err();
            assert_eq!(fault, Some(CredentialFault::Repeated), "{joined}");
        }
    }
}
