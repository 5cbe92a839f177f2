//! Unsigned LEB128 integers as CIDs, protobuf and CAR use them. It knows nothing of what they mean.

/// Longest encoding of a `u64`, in bytes.
pub const VARINT_BYTES_MAX: usize = 10;

/// The integer at the start of `bytes` and how many bytes it takes.
///
/// `None` if the bytes end first or the value does not fit. Encodings longer than needed are accepted, as
/// protobuf readers do: the hash over the bytes already fixes them.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        let low = u64::from(byte & 0x7f);
        if index == VARINT_BYTES_MAX - 1 && low > 1 {
            return None;
        }
        value |= low << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Appends `value` in its shortest encoding.
pub fn write(value: u64, out: &mut Vec<u8>) {
    let (bytes, length) = encode(value);
    out.extend_from_slice(&bytes[..length]);
}

/// `value` in its shortest encoding, and how many of the bytes that is.
#[must_use]
pub const fn encode(mut value: u64) -> ([u8; VARINT_BYTES_MAX], usize) {
    let mut bytes = [0; VARINT_BYTES_MAX];
    let mut length = 0;
    while value >= 0x80 {
        bytes[length] = (value as u8 & 0x7f) | 0x80;
        value >>= 7;
        length += 1;
    }
    bytes[length] = value as u8;
    (bytes, length + 1)
}

/// Length of the shortest encoding, in bytes.
#[must_use]
pub const fn length(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_reads_back() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, (1 << shift) + 1, u64::MAX] {
                let mut out = Vec::new();
                write(value, &mut out);
                assert_eq!(out.len(), length(value), "{value}");
                assert_eq!(read(&out), Some((value, out.len())), "{value}");
                assert_eq!(read(&out[..out.len() - 1]), None, "{value}");
            }
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(read(&[0xff; 10]), None);
        assert_eq!(
            read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]),
            None
        );
        assert_eq!(read(&[0x81, 0x00]), Some((1, 2)));
    }
}
