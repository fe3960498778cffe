use http::{HeaderMap, HeaderName, HeaderValue, header::Entry};

/// Header fields that a credential is read from.
pub(super) trait Fields {
    fn map(&self) -> &HeaderMap;

    /// Returns the first value of a field, and marks it as sensitive if the fields are mutable.
    fn secret(&mut self, name: &HeaderName) -> Option<&HeaderValue>;

    /// Marks every value of a field as sensitive, if the fields are mutable.
    fn mark_sensitive(&mut self, name: &HeaderName);
}

impl Fields for HeaderMap {
    #[inline]
    fn map(&self) -> &HeaderMap {
        self
    }

    #[inline]
    fn secret(&mut self, name: &HeaderName) -> Option<&HeaderValue> {
        let value = self.get_mut(name)?;
        value.set_sensitive(true);
        Some(value)
    }

    fn mark_sensitive(&mut self, name: &HeaderName) {
        if let Entry::Occupied(mut field) = self.entry(name) {
            for value in field.iter_mut() {
                value.set_sensitive(true);
            }
        }
    }
}

/// Borrowed fields, which stay unchanged.
impl Fields for &HeaderMap {
    fn map(&self) -> &HeaderMap {
        self
    }

    fn secret(&mut self, name: &HeaderName) -> Option<&HeaderValue> {
        self.get(name)
    }

    fn mark_sensitive(&mut self, _: &HeaderName) {}
}
