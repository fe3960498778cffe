//! A row of an existing table, as the guide to stores reads it.

include!("shown/custom_store.rs");

fn row() -> Row {
    Row {
        key_id: 1,
        sha256: [7; 32],
        customer: 42,
        customer_name: "Partner Ltd".to_owned(),
        label: "legacy key".to_owned(),
        revoked: Some(Timestamp::UNIX_EPOCH),
    }
}

#[test]
fn a_row_becomes_a_record() {
    let record = record(row()).unwrap();
    assert_eq!(record.app.id.as_str(), "42");
    assert_eq!(record.app.name, "Partner Ltd");
    assert_eq!(record.name, "legacy key");
    assert_eq!(record.digest, TokenDigest::from_bytes([7; 32]));
    assert_eq!(record.revoked_at, Some(Timestamp::UNIX_EPOCH));
}
