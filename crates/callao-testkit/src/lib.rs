//! Deterministic images and wire-level fakes for the tests.
