//! Whether a JPEG is whole.

/// Whether the end-of-image marker is there (ITU-T T.81, annex B). Bytes may follow it; the end marker of a
/// thumbnail lies inside a segment, which is skipped as a whole.
pub(super) fn jpeg_is_complete(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xD9;
    if bytes.ends_with(&[0xFF, END_OF_IMAGE]) {
        return true;
    }
    let mut at = 2;
    while let Some(&[first, marker]) = bytes.get(at..at + 2) {
        at += match (first, marker) {
            (0xFF, END_OF_IMAGE) => return true,
            (0xFF, 0xFF) => 1, // fill byte
            // Stuffed zero, restart markers, and the others that stand alone.
            (0xFF, 0x00 | 0x01 | 0xD0..=0xD8) => 2,
            (0xFF, _) => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
            _ => 1, // entropy-coded data
        };
    }
    false
}
