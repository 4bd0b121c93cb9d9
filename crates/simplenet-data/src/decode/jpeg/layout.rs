//! The markers of a JPEG file (ITU-T T.81, annex B): the frame's header, EXIF, where the only scan ends.

use std::path::Path;

use image::metadata::Orientation;

use crate::error::DataError;

pub(super) const START_OF_IMAGE: u8 = 0xD8;
pub(super) const END_OF_IMAGE: u8 = 0xD9;
pub(super) const START_OF_SCAN: u8 = 0xDA;
pub(super) const HUFFMAN_TABLES: u8 = 0xC4;
pub(super) const RESTART_INTERVAL: u8 = 0xDD;
pub(super) const RESTARTS: std::ops::RangeInclusive<u8> = 0xD0..=0xD7;
const APP1: u8 = 0xE1;

/// Whether a marker begins a frame: all of 0xC0 to 0xCF but tables, a reserved one and arithmetic conditioning.
pub(super) fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xCF | 0xF7) && !matches!(marker, HUFFMAN_TABLES | 0xC8 | 0xCC)
}

/// One marker and what belongs to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) marker: u8,
    /// What follows the length; empty for markers that stand alone.
    pub(super) body: &'a [u8],
    /// Where the next marker or the entropy-coded data begins.
    pub(super) end: usize,
}

/// The marker at or after a place, and its segment; bytes that are no marker are passed over. `None` if the file ends first.
pub(super) fn segment(bytes: &[u8], mut at: usize) -> Option<Segment<'_>> {
    loop {
        at += memchr::memchr(0xFF, bytes.get(at..)?)?;
        match *bytes.get(at + 1)? {
            0xFF => at += 1,
            0x00 => at += 2,
            marker @ (0x01 | 0xD0..=0xD9) => return Some(Segment { marker, body: &[], end: at + 2 }),
            marker => {
                let length = usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]));
                let end = at + 2 + length.max(2);
                return Some(Segment { marker, body: bytes.get(at + 4..end)?, end });
            }
        }
    }
}

/// What stands before the first scan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    frame: u8,
    precision: u8,
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) components: u8,
    /// Of four inks, whether a later one is sampled more finely than the first: the decoder cannot do that.
    odd_inks: bool,
}

impl Layout {
    /// `None` if the file ends before its frame's header does.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut at = 2;
        loop {
            let Segment { marker, body, end } = segment(bytes, at)?;
            if is_frame(marker) {
                let &[precision, h0, h1, w0, w1, components, ref parts @ ..] = body else { return None };
                let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
                let mut factors = parts.chunks_exact(3).map(|part| (part[1] >> 4, part[1] & 15));
                let (across, down) = factors.next()?;
                let odd_inks = components == 4 && factors.any(|(h, v)| h > across || v > down);
                return Some(Self { frame: marker, precision, width, height, components, odd_inks });
            }
            if matches!(marker, END_OF_IMAGE | START_OF_SCAN) {
                return None;
            }
            at = end;
        }
    }

    /// Refuses by name what no reader of this crate knows.
    pub(super) fn refuse_unread(&self, path: &Path) -> Result<(), DataError> {
        let what = match (self.frame, self.precision) {
            (0xC0..=0xC2, 8) if self.odd_inks => {
                "it is a CMYK JPEG picture with inks of several sizes".into()
            }
            (0xC0..=0xC2, 8) => return Ok(()),
            (0xC0..=0xC2, bits) => format!("it is a JPEG picture of {bits} bits for each sample"),
            (0xC3 | 0xF7, _) => "it is a lossless JPEG picture".into(),
            (0xC9 | 0xCA, _) => "it is a JPEG picture with arithmetic coding".into(),
            (frame, _) => format!("it is a JPEG picture of a rare kind (frame 0x{frame:X})"),
        };
        let advice = "save it as PNG, TIFF or a usual JPEG";
        Err(DataError::Unread { path: path.to_path_buf(), what, advice })
    }

    pub(super) fn orientation(&self, bytes: &[u8]) -> Orientation {
        let mut at = 2;
        while let Some(Segment { marker, body, end }) = segment(bytes, at) {
            if marker == START_OF_SCAN {
                break;
            }
            if let Some(exif) = body.strip_prefix(b"Exif\0\0").filter(|_| marker == APP1) {
                return Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms);
            }
            at = end;
        }
        Orientation::NoTransforms
    }
}

/// Whether the first scan begins in these bytes.
pub(super) fn has_first_scan(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(Segment { marker, end, .. }) = segment(bytes, at) {
        if marker == START_OF_SCAN {
            return true;
        }
        at = end;
    }
    false
}

/// Where the end marker stands, of a sequential file whose first scan has all components and is the last: what nearly
/// all files are. The number of its restart markers is checked, too.
pub(super) fn only_scan(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut interval, mut frame) = (2, 0usize, None);
    let data = loop {
        let Segment { marker, body, end } = segment(bytes, at)?;
        match marker {
            0xC0 | 0xC1 => frame = Some(body),
            _ if is_frame(marker) => return None,
            RESTART_INTERVAL => interval = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?])),
            START_OF_SCAN => {
                let components = frame?.get(5)?;
                break if body.first()? == components { Some(end) } else { None };
            }
            END_OF_IMAGE => return None,
            _ => {}
        }
        at = end;
    }?;
    let (mut at, mut restarts) = (data, 0usize);
    loop {
        at += memchr::memchr(0xFF, bytes.get(at..)?)?;
        match *bytes.get(at + 1)? {
            0xFF => at += 1,
            END_OF_IMAGE => break,
            marker if RESTARTS.contains(&marker) => {
                if usize::from(marker - 0xD0) != restarts % 8 {
                    return None;
                }
                restarts += 1;
                at += 2;
            }
            0x00 => at += 2,
            _ => return None,
        }
    }
    let expected = match interval {
        0 => 0,
        _ => units(frame?)?.div_ceil(interval).saturating_sub(1),
    };
    (restarts == expected).then_some(at)
}

/// How many minimum coded units an interleaved scan has, or the scan of a single component.
fn units(frame: &[u8]) -> Option<usize> {
    let &[_, h0, h1, w0, w1, count, ref components @ ..] = frame else { return None };
    let (width, height) =
        (usize::from(u16::from_be_bytes([w0, w1])), usize::from(u16::from_be_bytes([h0, h1])));
    let factors = components
        .chunks_exact(3)
        .take(count.into())
        .map(|c| (usize::from(c[1] >> 4), usize::from(c[1] & 15)));
    let (across, down) = match count {
        1 => (1, 1),
        _ => factors.fold((1, 1), |(h, v), (x, y)| (h.max(x), v.max(y))),
    };
    Some(width.div_ceil(8 * across) * height.div_ceil(8 * down))
}
