//! The example of a custom store, run as a newcomer would.

use std::process::Command;

#[test]
fn a_custom_store_admits_what_it_knows() {
    let output = Command::new(env!("CARGO_BIN_EXE_custom-store"))
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        told,
        "partner-secret: 200 OK\npartner-guess: 401 Unauthorized\n"
    );
}
