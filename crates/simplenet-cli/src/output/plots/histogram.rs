//! The image scores: how many good and how many defective images have which score, with threshold and band for review.
//!
//! In: a category's predictions. Out: a canvas; `None` without a score, or with few that bear no label. Good ones are filled,
//! defective ones hatched with a dark outline in front, so that both show where they overlap.

use super::axes::{Axes, BELOW, Scale};
use super::canvas::{Anchor, Canvas, DASHES, DOTS};
use super::style::{BLACK, LINE, PALE_BLUE, SMALL, VERMILION, width_of};
use super::title;
use crate::output::OutputError;
use crate::output::report::CategoryReport;
use crate::output::report::html::score;
use crate::output::score_bins::{BINS, Bins, extent_of, scores_of, ticks};

/// Height of the frame.
const FRAME: f64 = 120.0;
/// Fewest scores without labels that are worth a figure: `infer` is often called for a few photographs.
pub const FEWEST_UNLABELLED: usize = 10;

/// The histogram.
pub(super) fn histogram(category: &CategoryReport) -> Result<Option<Canvas>, OutputError> {
    let scores = scores_of(category);
    let labelled = scores.iter().any(|(_, label)| label.is_some());
    let Some((low, high)) = extent_of(category) else { return Ok(None) };
    if !labelled && scores.len() < FEWEST_UNLABELLED {
        return Ok(None);
    }
    let bins = Bins::count(&scores, low, high);
    let tallest = bins.tallest().max(1) as f64;
    let (top, x_name) = (16.0 + 2.0 * LINE, "image score");
    let x = Scale { low, high, ticks: ticks(low, high), name: x_name.into(), logarithmic: false };
    // Counts are whole numbers.
    let counts = ticks(0.0, tallest * 1.06).into_iter().filter(|(count, _)| count.fract() == 0.0);
    let counts = counts.map(|(count, _)| (count, format!("{count}"))).collect();
    let y =
        Scale { low: 0.0, high: tallest * 1.06, ticks: counts, name: "images".into(), logarithmic: false };
    let axes = Axes::new(x, y, top, top + FRAME);
    let mut canvas = Canvas::new(axes.bottom + BELOW);
    title(&mut canvas, &category.name, axes.left, axes.right)?;
    axes.grid(&mut canvas);

    let border = |index: usize| low + (high - low) * index as f64 / BINS as f64;
    for (index, &count) in bins.above.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (from, to) = (axes.at(border(index), count as f64), axes.at(border(index + 1), 0.0));
        canvas.rectangle(from, to, PALE_BLUE);
    }
    for (index, &count) in bins.below.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (from, to) = (axes.at(border(index), count as f64), axes.at(border(index + 1), 0.0));
        canvas.hatched(from, to, 3.0, VERMILION);
    }
    outline(&mut canvas, &axes, &bins.above, &border, 0.5);
    outline(&mut canvas, &axes, &bins.below, &border, 1.1);
    for (value, dashes) in [(category.threshold, DASHES), (category.review_threshold, DOTS)] {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            let (x, _) = axes.at(f64::from(value), 0.0);
            canvas.dashed((x, axes.top), (x, axes.bottom), dashes, 1.0, BLACK);
        }
    }
    axes.frame(&mut canvas);
    legend(&mut canvas, category, labelled, &bins, axes.left)?;
    Ok(Some(canvas))
}

/// The upper edge of bars that touch, and the edges where they end.
fn outline(
    canvas: &mut Canvas,
    axes: &Axes,
    counts: &[usize; BINS],
    border: &dyn Fn(usize) -> f64,
    width: f64,
) {
    let colour = if width < 1.0 { super::style::BLUE } else { VERMILION };
    let mut edge = vec![];
    for (index, &count) in counts.iter().enumerate() {
        if count == 0 {
            if !edge.is_empty() {
                edge.push(axes.at(border(index), 0.0));
                canvas.line(std::mem::take(&mut edge), width, colour);
            }
            continue;
        }
        if edge.is_empty() {
            edge.push(axes.at(border(index), 0.0));
        }
        edge.push(axes.at(border(index), count as f64));
        edge.push(axes.at(border(index + 1), count as f64));
    }
    if !edge.is_empty() {
        edge.push(axes.at(border(BINS), 0.0));
        canvas.line(edge, width, colour);
    }
}

/// Two lines above the frame: what the bars are, what the lines are.
fn legend(
    canvas: &mut Canvas,
    category: &CategoryReport,
    labelled: bool,
    bins: &Bins,
    left: f64,
) -> Result<(), OutputError> {
    let (good, bad) = (bins.above.iter().sum::<usize>(), bins.below.iter().sum::<usize>());
    let y = 16.0 + LINE / 2.0 - 1.0;
    let (sample, gap, between) = (12.0, 4.0, 12.0);
    let mut x = left;
    let first = if labelled { format!("good ({good})") } else { format!("all images ({good})") };
    canvas.rectangle((x, y - 3.0), (x + sample, y + 3.0), PALE_BLUE);
    let corners =
        vec![(x, y - 3.0), (x + sample, y - 3.0), (x + sample, y + 3.0), (x, y + 3.0), (x, y - 3.0)];
    canvas.line(corners, 0.5, super::style::BLUE);
    canvas.text((x + sample + gap, y), SMALL, Anchor::Start, first.clone());
    if labelled {
        x += sample + gap + width_of(&first, SMALL)? + between;
        let corners =
            vec![(x, y - 3.0), (x + sample, y - 3.0), (x + sample, y + 3.0), (x, y + 3.0), (x, y - 3.0)];
        canvas.hatched((x, y - 3.0), (x + sample, y + 3.0), 3.0, VERMILION);
        canvas.line(corners, 1.1, VERMILION);
        canvas.text((x + sample + gap, y), SMALL, Anchor::Start, format!("anomalous ({bad})"));
    }
    let (mut x, y) = (left, y + LINE);
    for (name, value, dashes) in
        [("threshold", category.threshold, DASHES), ("review from", category.review_threshold, DOTS)]
    {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            let text = format!("{name} {}", score(value));
            canvas.dashed((x, y), (x + sample, y), dashes, 1.0, BLACK);
            canvas.text((x + sample + gap, y), SMALL, Anchor::Start, text.clone());
            x += sample + gap + width_of(&text, SMALL)? + between;
        }
    }
    Ok(())
}
