//! How large the pictures of each prediction are on the page.
//!
//! In: how many bytes each would be as it was kept, and how many the page may have. Out: for each whether it goes in as
//! it is, smaller, or not at all. Every category gets the same number of large pictures.

use super::interest::by_interest;
use super::{PictureSource, Report};
use crate::output::OutputError;
use crate::output::layers::LayerSizes;

/// What becomes of a prediction's pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// They go in as they were kept.
    Kept,
    /// They go in at [`Plan::small`].
    Small,
    /// There are none, or the page has no room.
    Absent,
}

/// The sizes of all pictures, a list a category, an entry a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) sizes: Vec<Vec<Size>>,
    /// What small pictures measure; none where all go in as they were kept.
    pub(super) small: Option<LayerSizes>,
}

/// Sides that small photographs may have, largest first.
const SMALL_SIDES: [u32; 5] = [224, 160, 112, 80, 56];
/// Share of the room that small pictures may take, so that some is left for those that matter most.
const SMALL_SHARE: f64 = 0.6;
/// Pictures that are made smaller to see what they come to.
const PROBES: usize = 9;

pub(super) fn plan(
    report: &Report,
    room: usize,
    pictures: &mut dyn PictureSource,
) -> Result<Plan, OutputError> {
    let bytes: Vec<Vec<usize>> = report
        .categories
        .iter()
        .enumerate()
        .map(|(c, category)| {
            (0..category.predictions.len()).map(|line| pictures.page_bytes(c, line)).collect()
        })
        .collect();
    let order = in_turn(report.categories.iter().map(|c| by_interest(&c.predictions)).collect());
    let order: Vec<(usize, usize)> = order.into_iter().filter(|&(c, line)| bytes[c][line] > 0).collect();
    let total: usize = order.iter().map(|&(c, line)| bytes[c][line]).sum();
    let mut sizes: Vec<Vec<Size>> = bytes.iter().map(|lines| vec![Size::Absent; lines.len()]).collect();
    if total <= room {
        order.iter().for_each(|&(c, line)| sizes[c][line] = Size::Kept);
        return Ok(Plan { sizes, small: None });
    }
    let (small, each) = small_size(&order, room, pictures)?;
    let fit = (room / each.max(1)).min(order.len());
    let mut left = room.saturating_sub(fit * each);
    for (rank, &(c, line)) in order.iter().enumerate() {
        let more = bytes[c][line].saturating_sub(each);
        sizes[c][line] = match rank < fit {
            true if more <= left => {
                left -= more;
                Size::Kept
            }
            true => Size::Small,
            false => Size::Absent,
        };
    }
    Ok(Plan { sizes, small: Some(small) })
}

/// The largest size at which all fit into their share of the room, and about how many bytes each then is.
fn small_size(
    order: &[(usize, usize)],
    room: usize,
    pictures: &mut dyn PictureSource,
) -> Result<(LayerSizes, usize), OutputError> {
    let mut probes = vec![];
    for k in 0..PROBES.min(order.len()) {
        let (category, line) = order[k * order.len() / PROBES.min(order.len())];
        probes.extend(pictures.read(category, line)?);
    }
    let mut last = (LayerSizes { photograph: 1, heat: 1 }, 1);
    for side in SMALL_SIDES {
        let sizes = LayerSizes { photograph: side, heat: side / 2 };
        let mut sum = 0;
        for probe in &probes {
            sum += probe.smaller(sizes)?.page_bytes();
        }
        last = (sizes, sum.div_ceil(probes.len().max(1)).max(1));
        if last.1 as f64 * order.len() as f64 <= SMALL_SHARE * room as f64 {
            break;
        }
    }
    Ok(last)
}

/// The first of each list, then the second of each, and so on.
fn in_turn(lists: Vec<Vec<usize>>) -> Vec<(usize, usize)> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let of_rank = |rank: usize| {
        lists.iter().enumerate().filter_map(move |(c, list)| list.get(rank).map(|line| (c, *line)))
    };
    (0..longest).flat_map(of_rank).collect()
}
