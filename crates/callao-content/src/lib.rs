//! CIDs, digests, dag-pb, UnixFS, CAR and their verification: pure, no I/O.
