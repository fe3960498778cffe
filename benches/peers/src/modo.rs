//! The layer of modo-rs, with a table in memory.

use std::{
    collections::HashMap,
    future::ready,
    pin::Pin,
    sync::{Arc, RwLock},
};

use modo::{
    Result,
    auth::apikey::{
        ApiKeyBackend, ApiKeyConfig, ApiKeyLayer, ApiKeyRecord, ApiKeyStore, CreateKeyRequest,
    },
};
use tower::Layer;

use crate::{
    Peer,
    platform::{Inner, Platform, bearer, call, runtime},
};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A backend in memory. The one in modo-rs is for tests, and scans all records.
#[derive(Default)]
struct Table(RwLock<HashMap<String, ApiKeyRecord>>);

impl Table {
    fn change(&self, id: &str, change: impl FnOnce(&mut ApiKeyRecord)) -> Answer<'_, ()> {
        if let Some(record) = self.0.write().unwrap().get_mut(id) {
            change(record);
        }
        Box::pin(ready(Ok(())))
    }
}

impl ApiKeyBackend for Table {
    fn store(&self, record: &ApiKeyRecord) -> Answer<'_, ()> {
        let mut table = self.0.write().unwrap();
        table.insert(record.id.clone(), record.clone());
        Box::pin(ready(Ok(())))
    }

    fn lookup(&self, id: &str) -> Answer<'_, Option<ApiKeyRecord>> {
        let found = self.0.read().unwrap().get(id).cloned();
        Box::pin(ready(Ok(found)))
    }

    fn revoke(&self, id: &str, at: &str) -> Answer<'_, ()> {
        self.change(id, |record| record.revoked_at = Some(at.to_owned()))
    }

    fn list(&self, tenant: &str) -> Answer<'_, Vec<ApiKeyRecord>> {
        let table = self.0.read().unwrap();
        let listed = table.values().filter(|record| record.tenant_id == tenant);
        Box::pin(ready(Ok(listed.cloned().collect())))
    }

    fn update_last_used(&self, id: &str, at: &str) -> Answer<'_, ()> {
        self.change(id, |record| record.last_used_at = Some(at.to_owned()))
    }

    fn update_expires_at(&self, id: &str, at: Option<&str>) -> Answer<'_, ()> {
        self.change(id, |record| record.expires_at = at.map(str::to_owned))
    }
}

pub(crate) fn peer(platform: &Platform) -> Peer {
    let backend = Arc::new(Table::default());
    let store = ApiKeyStore::from_backend(backend, ApiKeyConfig::default()).unwrap();
    let mut credentials = Vec::new();
    runtime().block_on(async {
        for (n, (_, record)) in platform.issued.iter().enumerate() {
            let new = CreateKeyRequest {
                tenant_id: record.app.id.to_string(),
                name: record.name.clone(),
                scopes: Vec::new(),
                expires_at: record.expires_at.map(|at| at.to_string()),
            };
            let created = store.create(&new).await.unwrap();
            if n % 101 == 0 {
                credentials.push(bearer(&created.raw_token));
            }
        }
    });
    let mut service = ApiKeyLayer::new(store).layer(Inner);
    Peer::new(move |request| call(&mut service, request), credentials)
}
