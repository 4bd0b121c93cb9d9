//! A file in memory of which a few bytes read differently.

use std::io::{Read, Result, Seek, SeekFrom};

/// Reads bytes, and in some places others.
#[derive(Debug)]
pub(super) struct Patched<'a> {
    bytes: &'a [u8],
    /// Where, and what is read there.
    patches: Vec<(u64, Vec<u8>)>,
    at: u64,
}

impl<'a> Patched<'a> {
    pub(super) fn new(bytes: &'a [u8], patches: Vec<(u64, Vec<u8>)>) -> Self {
        Self { bytes, patches, at: 0 }
    }
}

impl Read for Patched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let start = self.at.min(self.bytes.len() as u64);
        let count = (&self.bytes[start as usize..]).read(buffer)?;
        let end = start + count as u64;
        for (place, patch) in &self.patches {
            let overlap = start.max(*place)..end.min(place + patch.len() as u64);
            if overlap.start < overlap.end {
                let from = (overlap.start - place) as usize..(overlap.end - place) as usize;
                let to = (overlap.start - start) as usize..(overlap.end - start) as usize;
                buffer[to].copy_from_slice(&patch[from]);
            }
        }
        self.at = end;
        Ok(count)
    }
}

impl Seek for Patched<'_> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let place = match to {
            SeekFrom::Start(at) => i128::from(at),
            SeekFrom::Current(by) => i128::from(self.at) + i128::from(by),
            SeekFrom::End(by) => self.bytes.len() as i128 + i128::from(by),
        };
        self.at = u64::try_from(place).map_err(|_| std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
