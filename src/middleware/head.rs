use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri, request::Parts};

use super::fields::Fields;

/// The head of a request, which decides whether it is admitted and how it is refused.
///
/// Frameworks with request types of their own create one for
/// [`ApiTokenLayer::authenticate_head`](crate::ApiTokenLayer::authenticate_head).
///
/// # Examples
///
/// ```
/// use http::{HeaderMap, Method, Uri};
/// use tower_api_tokens::RequestHead;
///
/// let (method, uri, headers) = (Method::GET, Uri::from_static("/"), HeaderMap::new());
/// let head = RequestHead::new(&method, &uri, &headers);
/// ```
#[derive(Clone, Copy)]
pub struct RequestHead<'r> {
    pub(super) method: &'r Method,
    pub(super) uri: &'r Uri,
    pub(super) headers: &'r HeaderMap,
    extensions: Option<&'r Extensions>,
}

impl<'r> RequestHead<'r> {
    /// Creates a head from the parts of a request.
    ///
    /// `headers` must contain all header fields that the client sent. A request with two
    /// credentials is refused, so an adapter that drops fields would admit what the service
    /// refuses.
    #[must_use]
    pub fn new(method: &'r Method, uri: &'r Uri, headers: &'r HeaderMap) -> Self {
        Self {
            method,
            uri,
            headers,
            extensions: None,
        }
    }

    /// Adds the extensions of the request, for
    /// [`ApiTokenLayer::client_address`](crate::ApiTokenLayer::client_address).
    #[must_use]
    pub fn with_extensions(self, extensions: &'r Extensions) -> Self {
        Self {
            extensions: Some(extensions),
            ..self
        }
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &'r Method {
        self.method
    }

    /// Returns the URI.
    #[must_use]
    pub fn uri(&self) -> &'r Uri {
        self.uri
    }

    /// Returns the header fields.
    #[must_use]
    pub fn headers(&self) -> &'r HeaderMap {
        self.headers
    }

    /// Returns an extension of the request, such as the address of the connection. Heads that were
    /// created without extensions have none.
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&'r T> {
        self.extensions?.get()
    }
}

impl<'r, B> From<&'r Request<B>> for RequestHead<'r> {
    fn from(request: &'r Request<B>) -> Self {
        Self::new(request.method(), request.uri(), request.headers())
            .with_extensions(request.extensions())
    }
}

impl<'r> From<&'r Parts> for RequestHead<'r> {
    fn from(parts: &'r Parts) -> Self {
        Self::new(&parts.method, &parts.uri, &parts.headers).with_extensions(&parts.extensions)
    }
}

/// Header fields and URLs may contain tokens.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// Something to authenticate: a request, its parts, or a head alone.
pub(super) trait Head {
    type Fields: Fields;

    fn head(&self) -> RequestHead<'_>;
    fn fields_mut(&mut self) -> &mut Self::Fields;
    fn extensions_mut(&mut self) -> &mut Extensions;
}

impl<B> Head for Request<B> {
    type Fields = HeaderMap;

    fn head(&self) -> RequestHead<'_> {
        self.into()
    }

    #[inline]
    fn fields_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }

    #[inline]
    fn extensions_mut(&mut self) -> &mut Extensions {
        Request::extensions_mut(self)
    }
}

impl Head for Parts {
    type Fields = HeaderMap;

    fn head(&self) -> RequestHead<'_> {
        self.into()
    }

    fn fields_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}

/// A head without access to the extensions of its request.
#[derive(Debug)]
pub(super) struct Borrowed<'r> {
    head: RequestHead<'r>,
    extensions: Extensions,
}

impl<'r> From<RequestHead<'r>> for Borrowed<'r> {
    fn from(head: RequestHead<'r>) -> Self {
        Self {
            head,
            extensions: Extensions::new(),
        }
    }
}

impl<'r> Head for Borrowed<'r> {
    type Fields = &'r HeaderMap;

    fn head(&self) -> RequestHead<'_> {
        self.head
    }

    fn fields_mut(&mut self) -> &mut &'r HeaderMap {
        &mut self.head.headers
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}
