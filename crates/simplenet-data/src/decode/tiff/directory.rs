//! The directories of a TIFF or BigTIFF file: which pages there are, and what their tags say.
//!
//! Only what is needed to choose a page, to name what is not read, and to know where a tag stands.

use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};

/// Most pages that are looked at: a chain may be endless.
const MAX_PAGES: usize = 10_000;
/// Most tags of a directory that are looked at.
const MAX_TAGS: u64 = 1_000;
/// Most values of a tag that are read.
const MAX_VALUES: u64 = 1_000;

pub(super) const SUBFILE_TYPE: u16 = 254;
pub(super) const OLD_SUBFILE_TYPE: u16 = 255;
pub(super) const WIDTH: u16 = 256;
pub(super) const HEIGHT: u16 = 257;
pub(super) const BITS: u16 = 258;
pub(super) const COMPRESSION: u16 = 259;
pub(super) const PHOTOMETRIC: u16 = 262;
pub(super) const FILL_ORDER: u16 = 266;
pub(super) const ORIENTATION: u16 = 274;
pub(super) const SAMPLES: u16 = 277;
pub(super) const PLANAR: u16 = 284;
pub(super) const PREDICTOR: u16 = 317;
pub(super) const COLOUR_MAP: u16 = 320;
pub(super) const TILE_WIDTH: u16 = 322;
pub(super) const SUB_DIRECTORIES: u16 = 330;
pub(super) const EXTRA_SAMPLES: u16 = 338;
pub(super) const SAMPLE_FORMAT: u16 = 339;
pub(super) const DNG_VERSION: u16 = 50706;

/// How a file stores numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoding {
    big_endian: bool,
    big_tiff: bool,
}

impl Encoding {
    fn number(self, bytes: &[u8]) -> u64 {
        let push = |n: u64, &byte: &u8| n << 8 | u64::from(byte);
        if self.big_endian { bytes.iter().fold(0, push) } else { bytes.iter().rev().fold(0, push) }
    }

    fn bytes(self, number: u64, count: usize) -> Vec<u8> {
        if self.big_endian {
            number.to_be_bytes()[8 - count..].to_vec()
        } else {
            number.to_le_bytes()[..count].to_vec()
        }
    }

    fn offset_size(self) -> usize {
        if self.big_tiff { 8 } else { 4 }
    }

    /// Where the offset of the first directory stands, and the bytes that name another one.
    pub(super) fn first_directory(self, offset: u64) -> (u64, Vec<u8>) {
        (if self.big_tiff { 8 } else { 4 }, self.bytes(offset, self.offset_size()))
    }
}

/// A tag of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) number: u16,
    /// Where its entry stands in the file.
    at: u64,
    /// Its first values, as far as they are whole numbers.
    pub(super) values: Vec<u64>,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) offset: u64,
    pub(super) tags: Vec<Tag>,
}

impl Directory {
    /// The values of a tag; none where there is no such tag.
    pub(super) fn values(&self, number: u16) -> &[u64] {
        self.tags.iter().find(|tag| tag.number == number).map_or(&[], |tag| &tag.values)
    }

    /// The first value of a tag.
    pub(super) fn value(&self, number: u16) -> Option<u64> {
        self.values(number).first().copied()
    }

    pub(super) fn size(&self) -> (u64, u64) {
        (self.value(WIDTH).unwrap_or(0), self.value(HEIGHT).unwrap_or(0))
    }

    /// The bytes that give a tag of this directory another number and one value, and where they go.
    pub(super) fn replace(
        &self,
        number: u16,
        new: u16,
        value: u64,
        encoding: Encoding,
    ) -> Option<(u64, Vec<u8>)> {
        const LONG: u64 = 4;
        let tag = self.tags.iter().find(|tag| tag.number == number)?;
        let size = encoding.offset_size();
        let mut entry = encoding.bytes(u64::from(new), 2);
        entry.extend(encoding.bytes(LONG, 2));
        entry.extend(encoding.bytes(1, size));
        entry.extend(encoding.bytes(value, 4));
        entry.resize(4 + 2 * size, 0);
        Some((tag.at, entry))
    }
}

/// All pages of a file, in order.
pub(super) fn pages(source: &mut (impl Read + Seek)) -> Result<(Encoding, Vec<Directory>)> {
    source.rewind()?;
    let start: [u8; 4] = read(source)?;
    let big_endian = start[0] == b'M';
    let version = if big_endian { start[3] } else { start[2] };
    let encoding = Encoding { big_endian, big_tiff: version == 43 };
    if encoding.big_tiff {
        let _offset_size: [u8; 4] = read(source)?;
    }
    let mut next = number(source, encoding, encoding.offset_size())?;
    let mut pages: Vec<Directory> = vec![];
    while next != 0 && pages.len() < MAX_PAGES && pages.iter().all(|page| page.offset != next) {
        match directory(source, encoding, next) {
            Ok((page, following)) => {
                pages.push(page);
                next = following;
            }
            // A chain that breaks off has lost later pages, not the first.
            Err(_) if !pages.is_empty() => break,
            Err(e) => return Err(e),
        }
    }
    Ok((encoding, pages))
}

/// One directory, and the offset of the next.
pub(super) fn directory(
    source: &mut (impl Read + Seek),
    encoding: Encoding,
    offset: u64,
) -> Result<(Directory, u64)> {
    let size = encoding.offset_size();
    source.seek(SeekFrom::Start(offset))?;
    let count = number(source, encoding, if encoding.big_tiff { 8 } else { 2 })?;
    if count > MAX_TAGS {
        return Err(Error::new(ErrorKind::InvalidData, format!("a directory of {count} tags")));
    }
    let entry = 4 + 2 * size;
    let first = source.stream_position()?;
    let mut entries = vec![0; entry * count as usize];
    source.read_exact(&mut entries)?;
    let next = number(source, encoding, size).unwrap_or(0);
    let mut tags = Vec::with_capacity(count as usize);
    for (index, bytes) in entries.chunks_exact(entry).enumerate() {
        let number = encoding.number(&bytes[..2]) as u16;
        let width = match encoding.number(&bytes[2..4]) {
            1 | 7 => 1,
            3 => 2,
            4 | 13 => 4,
            16 | 18 => 8,
            _ => 0,
        };
        let values = encoding.number(&bytes[4..4 + size]);
        // A colour map has as many values as there are colours, three times; all else that is asked for has a few.
        let wanted = if number == COLOUR_MAP { values.min(3 << 16) } else { values.min(MAX_VALUES) };
        let length = width * wanted as usize;
        let place = &bytes[4 + size..];
        let needed = matches!(number, SUBFILE_TYPE..=SAMPLE_FORMAT | DNG_VERSION);
        let values = match length {
            0 => vec![],
            _ if !needed || matches!(number, 273 | 279 | 324 | 325) => vec![],
            _ if values <= (size / width) as u64 => {
                place[..length].chunks_exact(width).map(|v| encoding.number(v)).collect()
            }
            _ => {
                source.seek(SeekFrom::Start(encoding.number(place)))?;
                let mut content = vec![0; length];
                match source.read_exact(&mut content) {
                    Ok(()) => content.chunks_exact(width).map(|v| encoding.number(v)).collect(),
                    Err(_) => vec![],
                }
            }
        };
        tags.push(Tag { number, at: first + (index * entry) as u64, values });
    }
    Ok((Directory { offset, tags }, next))
}

fn number(source: &mut impl Read, encoding: Encoding, bytes: usize) -> Result<u64> {
    let mut content = [0; 8];
    source.read_exact(&mut content[..bytes])?;
    Ok(encoding.number(&content[..bytes]))
}

fn read<const N: usize>(source: &mut impl Read) -> Result<[u8; N]> {
    let mut content = [0; N];
    source.read_exact(&mut content)?;
    Ok(content)
}
