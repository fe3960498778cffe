//! Binds the idempotency key of a request to its actor, app and content.

use super::{Authority, IdempotencyKey, ImportedToken, NewToken, Rotation};
use crate::{
    model::app::AppId,
    store::{BoundKey, digest_words},
    token::TokenId,
};

// The hashed input must stay the same, and a new part of a request may only be hashed if it is set:
// a client may send a request to one version and repeat it to the next.
impl Authority {
    pub(super) fn key_of_issue(&self, app: &AppId, new: &NewToken) -> Option<BoundKey> {
        let key = new.key.as_ref()?;
        let words = new.words();
        let request = ["issue", app.as_str()].into_iter();
        Some(self.bind(key, request.chain(strs(&words))))
    }

    pub(super) fn key_of_import(&self, app: &AppId, imported: &ImportedToken) -> Option<BoundKey> {
        let key = imported.new.key.as_ref()?;
        let (digest, mask) = (imported.digest.to_hex(), imported.mask.to_string());
        let words = imported.new.words();
        let request = ["import", app.as_str(), &digest, &mask].into_iter();
        Some(self.bind(key, request.chain(strs(&words))))
    }

    pub(super) fn key_of_rotation(&self, id: TokenId, rotation: &Rotation) -> Option<BoundKey> {
        let key = rotation.key.as_ref()?;
        let (id, overlap) = (id.to_string(), rotation.overlap.as_nanos().to_string());
        let request = ["rotate", &id, &overlap];
        Some(self.bind(key, request.into_iter()))
    }

    fn bind<'w>(&self, key: &IdempotencyKey, request: impl Iterator<Item = &'w str>) -> BoundKey {
        // Each kind of owner has a different number of words, so that none can be confused with
        // another.
        let actor = self.actor().into_iter();
        let app = self.limits().app.as_ref();
        let app = app.map(|app| ["app", app.as_str()]);
        let owner = actor.chain([key.as_str()]).chain(app.into_iter().flatten());
        BoundKey::new(digest_words(owner), digest_words(request))
    }
}

fn strs(words: &[String]) -> impl Iterator<Item = &str> {
    words.iter().map(String::as_str)
}

#[cfg(test)]
mod tests;
