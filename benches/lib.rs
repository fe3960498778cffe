//! What verification costs: see the benches, and `README.md` on how to run them.
