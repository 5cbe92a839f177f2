//! Who gets how much of the line: pure, with a clock that is handed in. Must not know what is sent.

/// What others may use of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// Bytes per second over all peers. `None`: no cap.
    pub rate_bytes_s_max: Option<u64>,
    /// Peers that are sent blocks at the same time; the others wait for their turn.
    pub slots_count_max: usize,
}

impl Default for UploadLimits {
    fn default() -> Self {
        UploadLimits {
            rate_bytes_s_max: None,
            slots_count_max: 32,
        }
    }
}
