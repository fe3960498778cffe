//! The example of a rotation, run as a newcomer would.

use std::process::Command;

#[test]
fn the_story_of_a_rotation_is_true() {
    let output = Command::new(env!("CARGO_BIN_EXE_rotation"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
