//! The kinds of tiles: how many outputs from how many inputs, and how filters are transformed for them.

/// G for tiles of 4: from 3 taps to 6 positions, the points 0, 1, −1, 2, −2 and infinity.
const FILTER_4: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];
/// G for tiles of 3: the points 0, 1, −1, 2 and infinity.
const FILTER_3: [[f64; 3]; 5] = [
    [1.0 / 2.0, 0.0, 0.0],
    [-1.0 / 2.0, -1.0 / 2.0, -1.0 / 2.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 6.0, 1.0 / 3.0, 2.0 / 3.0],
    [0.0, 0.0, 1.0],
];
/// G for tiles of 3 with stride 2: the outer taps at the points 0, 1, −1 and infinity, the middle tap by itself.
const FILTER_3_STRIDE_2: [[f64; 3]; 5] =
    [[1.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.5, 0.0, -0.5], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]];

/// The most positions of a tile.
pub(super) const MOST_POSITIONS: usize = 49;

/// A kind of tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tile {
    /// 3 outputs along a side, from 5 inputs.
    Three,
    /// 4 outputs, from 6 inputs.
    Four,
    /// 3 outputs with stride 2, from 7 inputs.
    ThreeWithStride2,
}

/// Positions whose inputs meet the same transformed filter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    /// The row of G along the height and along the width.
    pub(super) filter: [usize; 2],
    /// Where the first of them stands among all.
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Tile {
    /// The one with fewest multiplications for an input of these sides; `None` for a stride other than 1 and 2.
    pub(crate) fn best(sides: [usize; 2], stride: usize) -> Option<Self> {
        let cost = |tile: Self| tile.positions() * tile.count(sides[0]) * tile.count(sides[1]);
        match stride {
            1 if cost(Self::Four) < cost(Self::Three) => Some(Self::Four),
            1 => Some(Self::Three),
            2 => Some(Self::ThreeWithStride2),
            _ => None,
        }
    }

    /// Step between neighbouring outputs' inputs.
    pub(super) fn stride(self) -> usize {
        if self == Self::ThreeWithStride2 { 2 } else { 1 }
    }

    /// Along a side.
    pub(super) fn outputs(self) -> usize {
        if self == Self::Four { 4 } else { 3 }
    }

    /// Inputs along a side, and positions.
    fn reach(self) -> usize {
        (self.outputs() - 1) * self.stride() + 3
    }

    /// Tiles along a side of the input.
    pub(super) fn count(self, side: usize) -> usize {
        side.div_ceil(self.stride()).div_ceil(self.outputs())
    }

    /// Products of a channel's tile with a filter.
    pub(super) fn positions(self) -> usize {
        self.reach().pow(2)
    }

    fn filters(self) -> &'static [[f64; 3]] {
        match self {
            Self::Three => &FILTER_3,
            Self::Four => &FILTER_4,
            Self::ThreeWithStride2 => &FILTER_3_STRIDE_2,
        }
    }

    /// The row of G that a position along a side goes with: the middle tap alone serves an output each.
    fn filter_of(self, position: usize) -> usize {
        position.min(self.filters().len() - 1)
    }

    /// Which positions share a filter, those that are most first: their product is the longest task.
    pub(super) fn groups(self) -> Vec<Group> {
        let along = |filter: usize| (0..self.reach()).filter(|&p| self.filter_of(p) == filter).count();
        let filters = 0..self.filters().len();
        let pairs = filters.clone().flat_map(|y| filters.clone().map(move |x| [y, x]));
        let mut groups: Vec<Group> = pairs
            .map(|filter| Group { filter, first: 0, count: along(filter[0]) * along(filter[1]) })
            .collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        let mut first = 0;
        for group in &mut groups {
            group.first = first;
            first += group.count;
        }
        groups
    }

    /// For each position of a tile, row by row, where it stands so that groups stand together.
    pub(super) fn places(self) -> [usize; MOST_POSITIONS] {
        let mut places = [0; MOST_POSITIONS];
        let mut groups = self.groups();
        for (position, place) in places.iter_mut().enumerate().take(self.positions()) {
            let filter = [position / self.reach(), position % self.reach()].map(|p| self.filter_of(p));
            if let Some(group) = groups.iter_mut().find(|group| group.filter == filter) {
                *place = group.first;
                group.first += 1;
            }
        }
        places
    }

    /// An element of G g Gᵀ.
    pub(super) fn transformed(self, taps: &[f64; 9], [y, x]: [usize; 2]) -> f64 {
        let along = |of: [f64; 3], [a, b, c]: [f64; 3]| of[0] * a + of[1] * b + of[2] * c;
        let row = |r: usize| along(self.filters()[x], [taps[3 * r], taps[3 * r + 1], taps[3 * r + 2]]);
        along(self.filters()[y], [row(0), row(1), row(2)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tile_is_the_one_that_multiplies_less() {
        for (sides, tile) in
            [([72, 72], Tile::Four), ([36, 36], Tile::Four), ([18, 18], Tile::Three), ([3, 3], Tile::Three)]
        {
            assert_eq!(Tile::best(sides, 1), Some(tile), "{sides:?}");
        }
        assert_eq!(Tile::best([72, 72], 2), Some(Tile::ThreeWithStride2));
        assert_eq!(Tile::best([72, 72], 3), None);
    }

    #[test]
    fn every_position_has_a_place_of_its_own_among_its_group() {
        for tile in [Tile::Three, Tile::Four, Tile::ThreeWithStride2] {
            let mut places = tile.places()[..tile.positions()].to_vec();
            places.sort_unstable();
            assert!(places.into_iter().eq(0..tile.positions()), "{tile:?}");
            let counts: usize = tile.groups().iter().map(|group| group.count).sum();
            assert_eq!(counts, tile.positions(), "{tile:?}");
        }
    }
}
