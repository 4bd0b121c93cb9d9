//! How much of a defect must be found. In: a defect's area. Out: its saturation area.

/// The area at which a defect counts as found in full (`saturation_threshold` in LOCO's `defects_config.json`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Saturation {
    /// Pixels (`relative_saturation` false); no more than the defect has.
    Pixels(u32),
    /// Share of the defect's area, above 0 and at most 1 (`relative_saturation` true), rounded down to pixels.
    Share(f64),
}

impl Saturation {
    /// The saturation area of a defect of `area` pixels, 0 if there is none.
    pub(crate) fn of(self, area: usize) -> usize {
        match self {
            Self::Pixels(pixels) => area.min(pixels as usize),
            Self::Share(share) if share > 0.0 && share <= 1.0 => (share * area as f64) as usize,
            Self::Share(_) => 0,
        }
    }
}
