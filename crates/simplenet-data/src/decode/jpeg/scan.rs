//! Counts what the entropy-coded data of a JPEG file holds, without making pixels of it.
//!
//! In: a file, sequential or progressive, coded by Huffman (ITU-T T.81, annexes B, F and G). Out: whether each scan holds
//! all of its blocks.

use super::layout::{
    END_OF_IMAGE, HUFFMAN_TABLES, RESTART_INTERVAL, RESTARTS, START_OF_IMAGE, START_OF_SCAN, Segment,
    is_frame, segment,
};

/// Coefficients of a block.
const BLOCK: usize = 64;
/// How many bits are looked up at once.
const LOOK: u32 = 9;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) enum Verdict {
    /// Every block is there.
    Whole,
    /// The data ends too early, whatever marker follows.
    Cut,
    /// It is not what the standard says.
    Damaged(&'static str),
}

/// A progressive file has ten or so; a decoder gives up at this many.
const MAX_SCANS: usize = 100;

/// Judges a file, given `tables`: segments that stand elsewhere, as in TIFF; usually none.
pub(in crate::decode) fn judge(tables: &[u8], bytes: &[u8]) -> Verdict {
    let mut file = File::default();
    let read = if tables.is_empty() { Ok(()) } else { file.read(tables, End::OfTables) };
    match read.and_then(|()| file.read(bytes, End::OfImage)) {
        Ok(()) => Verdict::Whole,
        Err(verdict) => verdict,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    OfImage,
    OfTables,
}

#[derive(Debug, Default)]
struct File {
    size: (usize, usize),
    progressive: bool,
    components: Vec<Component>,
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    interval: usize,
    scans: usize,
}

#[derive(Debug)]
struct Component {
    id: u8,
    across: usize,
    down: usize,
    /// Of a progressive file, which coefficients of each block are not 0 so far, as bits.
    known: Vec<u64>,
    stride: usize,
    /// Which coefficients were given to their last bit, as bits.
    complete: u64,
}

/// What a scan's header says.
struct Scan {
    /// Index of the component, its DC and its AC table.
    parts: Vec<(usize, usize, usize)>,
    first: usize,
    last: usize,
    refines: bool,
    to_last_bit: bool,
}

impl File {
    fn read(&mut self, bytes: &[u8], end_is: End) -> Result<(), Verdict> {
        let mut at = 2;
        loop {
            let Segment { marker, body, end } = match segment(bytes, at) {
                Some(found) => found,
                None if end_is == End::OfTables => return Ok(()),
                None => return Err(Verdict::Cut),
            };
            at = end;
            match marker {
                END_OF_IMAGE if end_is == End::OfTables => return Ok(()),
                END_OF_IMAGE => {
                    // Encoders send all coefficients of a progressive file, so that missing ones were cut off.
                    let complete =
                        !self.components.is_empty() && self.components.iter().all(|c| c.complete == u64::MAX);
                    return if complete { Ok(()) } else { Err(Verdict::Cut) };
                }
                HUFFMAN_TABLES => self.tables(body)?,
                RESTART_INTERVAL => match body {
                    &[high, low, ..] => self.interval = usize::from(u16::from_be_bytes([high, low])),
                    _ => return Err(Verdict::Damaged("its restart interval is cut short")),
                },
                START_OF_SCAN => at = self.scan(bytes, body, end)?,
                START_OF_IMAGE => return Err(Verdict::Damaged("another picture begins inside")),
                marker if is_frame(marker) => self.frame(marker, body)?,
                _ => {}
            }
        }
    }

    fn frame(&mut self, marker: u8, body: &[u8]) -> Result<(), Verdict> {
        let (Some(&[_, h0, h1, w0, w1, count]), true) = (body.first_chunk(), matches!(marker, 0xC0..=0xC2))
        else {
            return Err(Verdict::Damaged("its frame header is not understood"));
        };
        self.progressive = marker == 0xC2;
        self.size = (usize::from(u16::from_be_bytes([w0, w1])), usize::from(u16::from_be_bytes([h0, h1])));
        let parts = body[6..].chunks_exact(3).take(count.into());
        self.components = parts
            .map(|part| Component {
                id: part[0],
                across: usize::from(part[1] >> 4),
                down: usize::from(part[1] & 15),
                known: vec![],
                stride: 0,
                complete: 0,
            })
            .collect();
        let valid = |c: &Component| (1..=4).contains(&c.across) && (1..=4).contains(&c.down);
        if self.components.len() != usize::from(count) || count == 0 || !self.components.iter().all(valid) {
            return Err(Verdict::Damaged("its frame header is not understood"));
        }
        if count == 1 {
            // The factors of an only component have no meaning.
            self.components.iter_mut().for_each(|c| (c.across, c.down) = (1, 1));
        }
        let (across, down) = self.units();
        if self.progressive {
            for c in &mut self.components {
                c.stride = across * c.across;
                c.known = vec![0; c.stride * down * c.down];
            }
        }
        Ok(())
    }

    /// Minimum coded units of an interleaved scan, across and down.
    fn units(&self) -> (usize, usize) {
        let (across, down) = self.largest_factors();
        (self.size.0.div_ceil(8 * across), self.size.1.div_ceil(8 * down))
    }

    fn largest_factors(&self) -> (usize, usize) {
        self.components.iter().fold((1, 1), |(h, v), c| (h.max(c.across), v.max(c.down)))
    }

    fn tables(&mut self, mut body: &[u8]) -> Result<(), Verdict> {
        while let Some((&kind, rest)) = body.split_first() {
            let damaged = Verdict::Damaged("a Huffman table is not understood");
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(damaged)?;
            let symbols: usize = counts.iter().map(|&n| usize::from(n)).sum();
            let values = rest.get(..symbols).ok_or(damaged)?;
            let slot = usize::from(kind & 3);
            let table = Some(Table::new(counts, values).ok_or(damaged)?);
            match kind >> 4 {
                0 => self.dc[slot] = table,
                _ => self.ac[slot] = table,
            }
            body = &rest[symbols..];
        }
        Ok(())
    }

    fn scan_header(&self, body: &[u8]) -> Option<Scan> {
        let (&count, rest) = body.split_first()?;
        let count = usize::from(count);
        let parts = rest.get(..2 * count)?.chunks_exact(2).map(|part| {
            let index = self.components.iter().position(|c| c.id == part[0])?;
            Some((index, usize::from(part[1] >> 4 & 3), usize::from(part[1] & 3)))
        });
        let parts = parts.collect::<Option<Vec<_>>>().filter(|parts| !parts.is_empty())?;
        let &[first, last, step, ..] = rest.get(2 * count..)? else { return None };
        let scan = if self.progressive {
            Scan {
                parts,
                first: first.into(),
                last: last.into(),
                refines: step >> 4 > 0,
                to_last_bit: step & 15 == 0,
            }
        } else {
            Scan { parts, first: 0, last: BLOCK - 1, refines: false, to_last_bit: true }
        };
        let only_dc = scan.first == 0 && scan.last == 0;
        let band = scan.first <= scan.last && scan.last < BLOCK;
        let fits = !self.progressive || only_dc || (band && scan.first > 0 && scan.parts.len() == 1);
        fits.then_some(scan)
    }

    /// Walks the data of one scan; returns where it ends.
    fn scan(&mut self, bytes: &[u8], body: &[u8], at: usize) -> Result<usize, Verdict> {
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(Verdict::Damaged("it has more than 100 scans"));
        }
        let scan = self.scan_header(body).ok_or(Verdict::Damaged("a scan's header is not understood"))?;
        let largest = self.largest_factors();
        let only = match *scan.parts.as_slice() {
            [(index, ..)] => Some(index),
            _ => None,
        };
        let (across, down) = match only {
            None => self.units(),
            Some(index) => {
                let c = &self.components[index];
                let of = |size: usize, factor: usize, largest: usize| {
                    (size * factor).div_ceil(largest).div_ceil(8)
                };
                (of(self.size.0, c.across, largest.0), of(self.size.1, c.down, largest.1))
            }
        };
        let interleaved = only.is_none();
        let mut walk = Walk { bits: Bits::new(bytes, at), end_of_band_run: 0 };
        let (mut left, mut restarts) = (self.interval, 0u8);
        let missing = Verdict::Damaged("a Huffman table is missing");
        for row in 0..down {
            for column in 0..across {
                if self.interval > 0 && left == 0 {
                    walk.bits.restart(&mut restarts)?;
                    walk.end_of_band_run = 0;
                    left = self.interval;
                }
                left = left.wrapping_sub(1);
                for &(index, dc, ac) in &scan.parts {
                    let c = &mut self.components[index];
                    let (wide, high) = if interleaved { (c.across, c.down) } else { (1, 1) };
                    for y in 0..high {
                        for x in 0..wide {
                            if !self.progressive {
                                let dc = self.dc[dc].as_ref().ok_or(missing)?;
                                walk.block(dc, self.ac[ac].as_ref().ok_or(missing)?)?;
                            } else if scan.first == 0 {
                                if scan.refines {
                                    walk.bits.skip(1)?
                                } else {
                                    walk.dc(self.dc[dc].as_ref().ok_or(missing)?)?
                                }
                            } else {
                                let place = (row * high + y) * c.stride + column * wide + x;
                                let known = c.known.get_mut(place).ok_or(missing)?;
                                walk.band(self.ac[ac].as_ref().ok_or(missing)?, &scan, known)?;
                            }
                        }
                    }
                }
            }
        }
        for &(index, ..) in &scan.parts {
            if scan.to_last_bit {
                self.components[index].complete |=
                    (u64::MAX >> (BLOCK - 1 - scan.last)) & (u64::MAX << scan.first);
            }
        }
        Ok(walk.bits.at)
    }
}

/// The state inside a scan.
struct Walk<'a> {
    bits: Bits<'a>,
    end_of_band_run: u32,
}

impl Walk<'_> {
    fn dc(&mut self, table: &Table) -> Result<(), Verdict> {
        let size = self.bits.symbol(table)?;
        self.bits.skip(u32::from(size.min(16)))
    }

    /// A block of a sequential scan (annex F.2.2).
    fn block(&mut self, dc: &Table, ac: &Table) -> Result<(), Verdict> {
        self.dc(dc)?;
        let mut k = 1;
        while k < BLOCK {
            let symbol = self.bits.symbol(ac)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            match (run, size) {
                (15, 0) => k += 16,
                (_, 0) => break,
                _ => {
                    k += run + 1;
                    self.bits.skip(size)?;
                }
            }
        }
        Ok(())
    }

    /// A block of a progressive scan of AC coefficients (annex G.1.2.2 and G.1.2.3).
    fn band(&mut self, table: &Table, scan: &Scan, known: &mut u64) -> Result<(), Verdict> {
        let mut k = scan.first;
        if self.end_of_band_run == 0 {
            while k <= scan.last {
                let symbol = self.bits.symbol(table)?;
                let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                if size == 0 && run < 15 {
                    self.end_of_band_run = (1 << run) + self.bits.take(run)?;
                    break;
                }
                self.bits.skip(size)?;
                if !scan.refines {
                    k += run as usize;
                } else {
                    k = self.pass_known(k, scan.last, *known, Some(run))?;
                }
                if size > 0 && k <= scan.last {
                    *known |= 1 << k;
                }
                k += 1;
            }
        }
        if self.end_of_band_run > 0 {
            if scan.refines {
                self.pass_known(k, scan.last, *known, None)?;
            }
            self.end_of_band_run -= 1;
        }
        Ok(())
    }

    /// Goes past coefficients, with a bit for each that is known, until `zeros` unknown ones and one more, or the last.
    fn pass_known(
        &mut self,
        mut k: usize,
        last: usize,
        known: u64,
        mut zeros: Option<u32>,
    ) -> Result<usize, Verdict> {
        while k <= last {
            if known >> k & 1 == 1 {
                self.bits.skip(1)?;
            } else if let Some(left) = &mut zeros {
                if *left == 0 {
                    break;
                }
                *left -= 1;
            }
            k += 1;
        }
        Ok(k)
    }
}

/// The bits of entropy-coded data, without stuffed bytes, up to a marker.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, buffer: 0, count: 0 }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            if byte == 0xFF {
                if self.bytes.get(self.at + 1) != Some(&0) {
                    return;
                }
                self.at += 1;
            }
            self.at += 1;
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next 16 bits; ones where there are no more, as encoders fill the last byte.
    fn peek(&mut self) -> u32 {
        if self.count < 16 {
            self.fill();
        }
        let bits = match self.count {
            16.. => self.buffer >> (self.count - 16),
            count => (self.buffer << (16 - count)) | ((1 << (16 - count)) - 1),
        };
        bits as u32 & 0xFFFF
    }

    fn skip(&mut self, bits: u32) -> Result<(), Verdict> {
        if self.count < bits {
            self.fill();
        }
        self.count = self.count.checked_sub(bits).ok_or(Verdict::Cut)?;
        Ok(())
    }

    fn take(&mut self, bits: u32) -> Result<u32, Verdict> {
        let next = self.peek();
        self.skip(bits)?;
        Ok(if bits == 0 { 0 } else { next >> (16 - bits) })
    }

    fn symbol(&mut self, table: &Table) -> Result<u8, Verdict> {
        let next = self.peek();
        let (length, symbol) = table.look_up(next);
        if length == 0 {
            let at_end = self.count < 16;
            return Err(if at_end {
                Verdict::Cut
            } else {
                Verdict::Damaged("a code is in no Huffman table")
            });
        }
        self.skip(length)?;
        Ok(symbol)
    }

    /// Goes past a restart marker, which must be the next one.
    fn restart(&mut self, number: &mut u8) -> Result<(), Verdict> {
        self.count = 0;
        let next = segment(self.bytes, self.at).ok_or(Verdict::Cut)?;
        if !RESTARTS.contains(&next.marker) {
            return Err(Verdict::Cut);
        }
        if next.marker - RESTARTS.start() != *number % 8 {
            return Err(Verdict::Damaged("a part between restart markers is missing"));
        }
        *number = (*number + 1) % 8;
        self.at = next.end;
        Ok(())
    }
}

/// A Huffman table.
#[derive(Debug)]
struct Table {
    /// Length and symbol by the first bits; length 0 where the code is longer.
    short: Vec<(u8, u8)>,
    /// For each length, one above the largest code, aligned to the left of 16 bits, and what leads from a code to its symbol.
    long: [(u32, i32); 17],
    values: Vec<u8>,
}

impl Table {
    fn new(counts: &[u8; 16], values: &[u8]) -> Option<Self> {
        let mut short = vec![(0, 0); 1 << LOOK];
        let mut long = [(0, 0); 17];
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = usize::from(counts[length as usize - 1]);
            long[length as usize].1 = index as i32 - code as i32;
            for &symbol in values.get(index..index + count)? {
                if code >> length != 0 {
                    return None;
                }
                if length <= LOOK {
                    let first = (code << (LOOK - length)) as usize;
                    short[first..first + (1 << (LOOK - length))].fill((length as u8, symbol));
                }
                code += 1;
            }
            index += count;
            long[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        Some(Self { short, long, values: values.to_vec() })
    }

    /// Length of the code that 16 bits begin with, and its symbol; 0 where there is none.
    fn look_up(&self, next: u32) -> (u32, u8) {
        let (length, symbol) = self.short[(next >> (16 - LOOK)) as usize];
        if length > 0 {
            return (length.into(), symbol);
        }
        for length in LOOK + 1..=16 {
            let (above, offset) = self.long[length as usize];
            if next < above {
                let index = (next >> (16 - length)) as i32 + offset;
                return usize::try_from(index)
                    .ok()
                    .and_then(|i| self.values.get(i))
                    .map_or((0, 0), |&s| (length, s));
            }
        }
        (0, 0)
    }
}
