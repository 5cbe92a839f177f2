//! The fetch engine and every source that speaks HTTP or reads blocks.
