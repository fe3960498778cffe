use http::{HeaderMap, HeaderName, HeaderValue, header::Entry};

/// Header fields that a credential is read from.
pub(super) trait Fields {
    fn map(&self) -> &HeaderMap;

    /// The first value of a field, marked as sensitive where the fields can be changed.
    fn secret(&mut self, name: &HeaderName) -> Option<&HeaderValue>;

    /// Marks every value of a field as sensitive, where the fields can be changed.
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

/// Fields of somebody else's request, which stay as they are.
impl Fields for &HeaderMap {
    fn map(&self) -> &HeaderMap {
        self
    }

    fn secret(&mut self, name: &HeaderName) -> Option<&HeaderValue> {
        self.get(name)
    }

    fn mark_sensitive(&mut self, _: &HeaderName) {}
}
