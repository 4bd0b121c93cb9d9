//! An exact count of scores that takes them in any order, in one pass, in memory that has a bound.
//!
//! Every pixel metric needs to know how many normal pixels score above each anomalous one. The anomalous pixels
//! are a few per cent and are kept; of the normal ones only how often each score occurs is. A score's key
//! ([`crate::score_key`]) is cut in two: the upper half names a page, the lower half a place on it. A page is
//! the list of its pixels' places (2 bytes each) until a table of counts for all 65,536 places (2 bytes each as
//! well) is no larger. So the counts take at most 2 bytes a pixel (3 while a list grows), and at most 128 pages
//! of 128 KiB = 16 MiB for each power of two that the scores reach into, however many pixels there are: scores
//! from 0.001 to 10 lie in 14 powers of two, 224 MiB at most.
//!
//! Pixels are grouped by page before they are counted: one page fits the second-level cache, all together do
//! not. Beside the counts each thread that adds needs 2 MiB for that, and 256 KiB for the groups' sizes.
//!
//! Comes in: slices of finite scores, from any thread. Goes out: walks down the keys with their counts. All
//! counts are integers, so neither the order in which pixels come nor the number of threads changes anything.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::score_key::key;

const PAGES: usize = 1 << 16;
const PLACES: usize = 1 << 16;
/// Pages are allocated by the shelf, so that a small set does not pay for all of them.
const PAGES_PER_SHELF: usize = 256;
/// The longest list: as large as a table, and too short for one of a table's counts to go over.
const LIST_LIMIT: usize = PLACES - 1;
/// Pixels grouped by page at a time.
const BATCH: usize = 1 << 20;

/// How many pixels have each score.
#[derive(Debug)]
pub(crate) struct Tally {
    shelves: Vec<OnceLock<Shelf>>,
    /// Working memory that no thread is using.
    spare: Mutex<Vec<Grouping>>,
}

type Shelf = Box<[Mutex<Page>]>;

impl Tally {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        Self {
            shelves: (0..PAGES / PAGES_PER_SHELF).map(|_| OnceLock::new()).collect(),
            spare: Mutex::new(Vec::new()),
        }
    }

    /// Counts the scores of all `parts`.
    pub(crate) fn add<'a>(&self, parts: impl Iterator<Item = &'a [f32]>) {
        let mut grouping = lock(&self.spare).pop().unwrap_or_else(Grouping::new);
        let mut batch: Vec<&[f32]> = Vec::new();
        let mut length = 0;
        for piece in parts.flat_map(|part| part.chunks(BATCH)) {
            if length + piece.len() > BATCH {
                grouping.group(&batch, |page, places| self.page(page).add(places));
                batch.clear();
                length = 0;
            }
            batch.push(piece);
            length += piece.len();
        }
        grouping.group(&batch, |page, places| self.page(page).add(places));
        lock(&self.spare).push(grouping);
    }

    /// Number of scores counted.
    pub(crate) fn total(&self) -> u64 {
        let shelves = self.shelves.iter().filter_map(OnceLock::get);
        shelves.flatten().map(|page| lock(page).total()).sum()
    }

    /// A walk down the keys that says how those asked for stand among the scores.
    pub(crate) fn descend(&self) -> Descent<'_> {
        Descent { tally: self, page: PAGES, end: 0, above: 0, open: OpenPage::default() }
    }

    /// Every key that was counted, descending, with its count.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let mut open = OpenPage::default();
        (0..PAGES).rev().flat_map(move |page| {
            open.fill(self.existing_page(page).as_deref());
            let entries = open.entries().into_iter();
            entries.map(move |(place, count)| ((page as u32) << 16 | u32::from(place), count))
        })
    }

    fn page(&self, page: usize) -> MutexGuard<'_, Page> {
        let empty = || (0..PAGES_PER_SHELF).map(|_| Mutex::new(Page::List(Vec::new()))).collect();
        let shelf = self.shelves[page / PAGES_PER_SHELF].get_or_init(empty);
        lock(&shelf[page % PAGES_PER_SHELF])
    }

    /// The page, if its shelf has been allocated.
    fn existing_page(&self, page: usize) -> Option<MutexGuard<'_, Page>> {
        self.shelves[page / PAGES_PER_SHELF].get().map(|shelf| lock(&shelf[page % PAGES_PER_SHELF]))
    }
}

/// Nothing here is left half done by a panic elsewhere, so a poisoned lock is as good as any.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn page_of(key: u32) -> usize {
    (key >> 16) as usize
}

/// Working memory for grouping pixels by page.
#[derive(Debug)]
struct Grouping {
    /// By page: how many pixels; then where in `places` the next one goes; zeros between two calls.
    positions: Vec<u32>,
    /// The pages that occur.
    pages: Vec<u16>,
    places: Vec<u16>,
}

impl Grouping {
    fn new() -> Self {
        Self { positions: vec![0; PAGES], pages: Vec::new(), places: Vec::new() }
    }

    /// Groups at most [`BATCH`] scores and hands each page with its places to `count`.
    fn group(&mut self, parts: &[&[f32]], mut count: impl FnMut(usize, &[u16])) {
        let Self { positions, pages, places } = self;
        for &score in parts.iter().copied().flatten() {
            positions[page_of(key(score))] += 1;
        }
        pages.clear();
        let mut length = 0;
        for (page, position) in positions.iter_mut().enumerate().filter(|(_, position)| **position > 0) {
            pages.push(page as u16);
            length += std::mem::replace(position, length);
        }
        places.resize(places.len().max(length as usize), 0);
        for &score in parts.iter().copied().flatten() {
            let key = key(score);
            let position = &mut positions[page_of(key)];
            places[*position as usize] = key as u16;
            *position += 1;
        }
        let mut start = 0;
        for &page in pages.iter() {
            let end = std::mem::take(&mut positions[usize::from(page)]) as usize;
            count(usize::from(page), &places[start..end]);
            start = end;
        }
    }
}

/// Counts of the keys that share their upper half.
#[derive(Debug)]
enum Page {
    /// The place of each pixel, in the order they came; at most [`LIST_LIMIT`].
    List(Vec<u16>),
    Table(Box<Table>),
}

/// A count for each place.
#[derive(Debug)]
struct Table {
    /// Modulo 2^16.
    counts: Box<[u16]>,
    /// Multiples of 2^16 that went over, by place.
    carries: BTreeMap<u16, u64>,
    total: u64,
}

impl Page {
    fn total(&self) -> u64 {
        match self {
            Self::List(places) => places.len() as u64,
            Self::Table(table) => table.total,
        }
    }

    fn add(&mut self, places: &[u16]) {
        match self {
            Self::List(list) if list.len() + places.len() <= LIST_LIMIT => {
                // Half as much again, not twice as much: lists are most of the memory of a small set.
                let needed = list.len() + places.len();
                if needed > list.capacity() {
                    let capacity = needed.max(list.len() * 3 / 2).min(LIST_LIMIT);
                    list.reserve_exact(capacity - list.len());
                }
                list.extend_from_slice(places);
            }
            Self::List(list) => {
                let counts = vec![0; PLACES].into_boxed_slice();
                let mut table = Table { counts, carries: BTreeMap::new(), total: 0 };
                table.add(list);
                table.add(places);
                *self = Self::Table(Box::new(table));
            }
            Self::Table(table) => table.add(places),
        }
    }
}

impl Table {
    fn add(&mut self, places: &[u16]) {
        for &place in places {
            let count = &mut self.counts[usize::from(place)];
            *count = count.wrapping_add(1);
            if *count == 0 {
                *self.carries.entry(place).or_insert(0) += 1 << 16;
            }
        }
        self.total += places.len() as u64;
    }
}

/// How a key stands among the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Scores with a higher key.
    pub(crate) above: u64,
    /// Scores with this key.
    pub(crate) equal: u64,
}

/// A walk down the keys.
#[derive(Debug)]
pub(crate) struct Descent<'a> {
    tally: &'a Tally,
    /// Where the walk stands.
    page: usize,
    /// Places of this page from here on are passed.
    end: usize,
    /// Scores passed.
    above: u64,
    open: OpenPage,
}

impl Descent<'_> {
    /// The standing of a key, which must be lower than the one before.
    pub(crate) fn standing(&mut self, key: u32) -> Standing {
        let (page, place) = (page_of(key), usize::from(key as u16));
        if page < self.page {
            self.turn_to(page);
        }
        self.above += self.open.sum(place + 1, self.end);
        // The key itself is passed by the next call.
        self.end = place + 1;
        Standing { above: self.above, equal: self.open.sum(place, place + 1) }
    }

    /// Passes what is left of this page, and all pages down to `page`.
    fn turn_to(&mut self, page: usize) {
        self.above += self.open.sum(0, self.end);
        for passed in (page + 1..self.page).rev() {
            self.above += self.tally.existing_page(passed).map_or(0, |page| page.total());
        }
        self.open.fill(self.tally.existing_page(page).as_deref());
        (self.page, self.end) = (page, PLACES);
    }
}

/// A copy of a page that can be asked how many scores stand between two places. One is used for page after page:
/// memory fresh from the system costs more than the copy.
#[derive(Debug, Default)]
struct OpenPage {
    /// The place of each pixel, ascending, if there are fewer than [`OpenPage::MANY`].
    few: Vec<u16>,
    /// Otherwise as in [`Table`].
    counts: Vec<u16>,
    carries: BTreeMap<u16, u64>,
}

impl OpenPage {
    /// Below this a sorted list is faster than a table.
    const MANY: usize = 4096;

    fn fill(&mut self, page: Option<&Page>) {
        let Self { few, counts, carries } = self;
        few.clear();
        counts.clear();
        carries.clear();
        match page {
            Some(Page::Table(table)) => {
                counts.extend_from_slice(&table.counts);
                carries.clone_from(&table.carries);
            }
            Some(Page::List(places)) if places.len() >= Self::MANY => {
                counts.resize(PLACES, 0);
                places.iter().for_each(|&place| counts[usize::from(place)] += 1);
            }
            Some(Page::List(places)) => {
                few.extend_from_slice(places);
                few.sort_unstable();
            }
            None => {}
        }
    }

    /// Scores at the places from `start` to `end` (not included).
    fn sum(&self, start: usize, end: usize) -> u64 {
        if start >= end {
            return 0;
        }
        if self.counts.is_empty() {
            let before = |end: usize| self.few.partition_point(|&place| usize::from(place) < end);
            return (before(end) - before(start)) as u64;
        }
        // 65,536 counts below 65,536 fit 32 bits.
        let sum: u32 = self.counts[start..end].iter().map(|&count| u32::from(count)).sum();
        let carries = self.carries.range(start as u16..=(end - 1) as u16).map(|(_, carry)| carry);
        u64::from(sum) + carries.sum::<u64>()
    }

    /// Places with their counts, descending.
    fn entries(&self) -> Vec<(u16, u64)> {
        let few = self.few.chunk_by(|a, b| a == b).rev().map(|run| (run[0], run.len() as u64));
        let many = (0..=u16::MAX).rev().zip(self.counts.iter().rev()).map(|(place, &count)| {
            let carry = if self.carries.is_empty() { None } else { self.carries.get(&place) };
            (place, u64::from(count) + carry.copied().unwrap_or(0))
        });
        few.chain(many.filter(|&(_, count)| count > 0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score_key::score;

    /// Adds `parts` one by one and compares both walks with a map from key to count.
    fn check(parts: &[Vec<f32>], probes: &[u32]) {
        let tally = Tally::new();
        let mut want: BTreeMap<u32, u64> = BTreeMap::new();
        for part in parts {
            // In two slices, as an image with a defect comes.
            let (left, right) = part.split_at(part.len() / 3);
            tally.add([left, right].into_iter());
            part.iter().for_each(|&score| *want.entry(key(score)).or_insert(0) += 1);
        }
        assert_eq!(tally.total(), want.values().sum::<u64>());
        let entries: Vec<(u32, u64)> = tally.entries().collect();
        assert_eq!(entries, want.iter().rev().map(|(&key, &count)| (key, count)).collect::<Vec<_>>());
        let mut probes = probes.to_vec();
        probes.extend(want.keys().step_by(1 + want.len() / 500).flat_map(|&key| [key - 1, key, key + 1]));
        probes.sort_unstable();
        probes.dedup();
        let mut descent = tally.descend();
        // Counts from the lowest key to the highest give the scores above by subtraction.
        let total: u64 = want.values().sum();
        for &probe in probes.iter().rev() {
            let equal = want.get(&probe).copied().unwrap_or(0);
            let below: u64 = want.range(..probe).map(|(_, count)| count).sum();
            let standing = Standing { above: total - below - equal, equal };
            assert_eq!(descent.standing(probe), standing, "key {probe:#x}");
        }
    }

    #[test]
    fn counts_are_those_of_a_map() {
        let ends = [0, 1, 0xFFFF, 0x1_0000, key(f32::MIN), key(-0.0), key(1.0), key(f32::MAX), u32::MAX];
        check(&[], &ends);
        check(&[vec![]], &ends);
        check(&[vec![1.0]], &ends);
        check(&[vec![f32::MIN, f32::MAX, -0.0, 0.0], vec![0.0]], &ends);
        let mut state = 1u64;
        let mut next = |shift: u32| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> shift) as u32
        };
        // Lists only; lists that turn into tables, on one page and on a few; scores all over the place.
        let random = |count: usize, mut draw: Box<dyn FnMut() -> u32>| -> Vec<f32> {
            (0..count).map(|_| score(draw())).collect()
        };
        let first = key(1.0);
        let draws: Vec<u32> = (0..400_000).map(|_| next(40)).collect();
        for (count, range) in [(3000, 1 << 24), (90_000, 1 << 16), (400_000, 1 << 18), (70_000, 3)] {
            let mut draws = draws.clone().into_iter();
            let draw = Box::new(move || first + draws.next().unwrap_or(0) % range);
            check(&[random(count / 2, draw.clone()), random(count, draw)], &ends);
        }
    }

    #[test]
    fn one_score_more_often_than_a_count_holds() {
        // More than a batch, more than 2^16 in one call and over several calls, and a neighbour that has few.
        let mut many = vec![0.5; BATCH + 200_000];
        many.push(0.5f32.next_up());
        check(&[many.clone(), vec![0.5; 65_535], vec![0.5; 1], many], &[]);
    }

    #[test]
    fn threads_do_not_change_a_count() {
        let tally = Tally::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let tally = &tally;
                scope.spawn(move || {
                    for start in 0..50 {
                        let scores: Vec<f32> = (0..2000).map(|i| ((start + i) % 700) as f32).collect();
                        tally.add([&scores[thread..]].into_iter());
                    }
                });
            }
        });
        assert_eq!(tally.total(), 50 * (4 * 2000 - 6));
        assert_eq!(tally.entries().count(), 700);
    }
}
