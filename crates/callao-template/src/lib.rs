//! Lima templates: read, select, explain; no I/O.
