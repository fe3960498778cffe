use std::io::{BufRead, BufReader};

use jiff::Timestamp;
use tower_api_tokens::{
    AppId, AppRecord, MaskedToken, MemoryStore, TokenDigest, TokenId, TokenQuery, TokenRecord,
    TokenRegistry, TokenRegistryExt,
    transfer::{Export, Import, ImportReport, LineFault},
};

/// A time at this number of microseconds after a fixed instant.
pub(crate) fn at(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(1_800_000_000_000_000 + microseconds).unwrap()
}

pub(crate) fn app_record(n: u32) -> AppRecord {
    let id = AppId::new(&format!("app-{n}")).unwrap();
    AppRecord::new(id, format!("App {n}"), at(n.into()))
}

pub(crate) fn token_record(app: &AppRecord, n: u32) -> TokenRecord {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    TokenRecord::new(
        TokenId::from_bytes(id),
        TokenDigest::of(&n.to_be_bytes()),
        MaskedToken::new("acme_", "x7Kq").unwrap(),
        app.clone(),
        format!("token {n}"),
        at(n.into()),
    )
}

/// Adds two apps, and tokens with every field in every status, to a store.
pub(crate) async fn furnish(store: &dyn TokenRegistry, count: u32) {
    let (ours, mut theirs) = (app_record(1), app_record(2));
    theirs.disabled_at = Some(at(77));
    for app in [&ours, &theirs] {
        store.insert_app(app).await.unwrap();
    }
    let tokens: Vec<_> = (1..=count)
        .map(|n| {
            let mut token = token_record(if n % 3 == 0 { &theirs } else { &ours }, n);
            let every = |m: u32| n.is_multiple_of(m).then(|| at(i64::from(n) * 1_000_003));
            token.expires_at = every(2);
            token.revoked_at = every(5);
            token.last_used_at = every(7);
            token.uses = if n.is_multiple_of(7) {
                u64::from(n) << 31
            } else {
                0
            };
            token.successor = every(4).map(|_| token_record(&ours, n + 1).id);
            if n.is_multiple_of(2) {
                token.scopes = "invoices:read ~!#$%&'*+".parse().unwrap();
                token.name = format!("Zoë's \"{n}\" \\ 🚀 \u{202e}");
            }
            token
        })
        .collect();
    for batch in tokens.chunks(1000) {
        store.insert_all(batch).await.unwrap();
    }
}

pub(crate) async fn furnished(count: u32) -> MemoryStore {
    let store = MemoryStore::new();
    furnish(&store, count).await;
    store
}

pub(crate) async fn export(store: &dyn TokenRegistry) -> String {
    let mut file = Vec::new();
    let report = Export::new(store).run(&mut file).await.unwrap();
    assert_eq!(report.bytes, file.len() as u64);
    String::from_utf8(file).unwrap()
}

/// What an import did, what it reported, and what it rejected.
pub(crate) struct Imported {
    pub(crate) report: ImportReport,
    pub(crate) faults: Vec<LineFault>,
    pub(crate) rejects: String,
}

pub(crate) async fn import(store: &dyn TokenRegistry, file: impl AsRef<[u8]>) -> Imported {
    import_from(store, file.as_ref()).await
}

pub(crate) async fn import_from(store: &dyn TokenRegistry, file: impl BufRead + Send) -> Imported {
    let (mut faults, mut rejects) = (Vec::new(), Vec::new());
    let report = Import::new(store)
        .on_fault(|fault| faults.push(fault.clone()))
        .rejects(&mut rejects)
        .run(file)
        .await
        .unwrap();
    assert_eq!(report.faults(), faults.len() as u64);
    adds_up(&report);
    Imported {
        report,
        faults,
        rejects: String::from_utf8_lossy(&rejects).into_owned(),
    }
}

pub(crate) fn adds_up(report: &ImportReport) {
    let sum = report.inserted + report.already_present + report.refused + report.conflicts;
    assert_eq!(report.read, sum, "{report:?}");
}

/// Returns a file in small pieces.
pub(crate) fn in_pieces(file: &[u8], size: usize) -> BufReader<&[u8]> {
    BufReader::with_capacity(size, file)
}

pub(crate) async fn tokens(store: &dyn TokenRegistry) -> Vec<TokenRecord> {
    let page = store
        .tokens(&TokenQuery::default().limit(1000), at(0))
        .await;
    page.unwrap().items
}
