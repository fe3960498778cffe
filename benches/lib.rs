//! Benches of verification. `README.md` explains how to run them.
