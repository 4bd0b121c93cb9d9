//! The image scores: which share of the good and which of the anomalous images has which score, with threshold and band for review.
//!
//! In: a category's predictions. Out: a canvas; `None` without a score, or with few that bear no label. Good ones are filled,
//! anomalous ones hatched with a dark outline in front, so that both show where they overlap.

use super::axes::{Axes, BELOW, Scale};
use super::canvas::{Anchor, Canvas, DASHES, DOTS, Point};
use super::style::{BLACK, BLUE, Colour, LINE, PALE_BLUE, SMALL, VERMILION, width_of};
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
    let (good, bad) = (shares(&bins.above), shares(&bins.below));
    let tallest = good.iter().chain(&bad).copied().fold(0.0, f64::max) * 1.06;
    let top = 16.0 + 2.0 * LINE;
    let linear = |low, high, name: &str| Scale {
        low,
        high,
        ticks: ticks(low, high),
        name: name.into(),
        logarithmic: false,
    };
    let upwards = if labelled { "images of each kind (%)" } else { "images (%)" };
    let axes = Axes::new(linear(low, high, "image score"), linear(0.0, tallest, upwards), top, top + FRAME);
    let mut canvas = Canvas::new(axes.bottom + BELOW);
    title(&mut canvas, &category.name, axes.left, axes.right)?;
    axes.grid(&mut canvas);

    let bars = |shares: &[f64; BINS]| -> Vec<(Point, Point)> {
        let border = |index: usize| low + (high - low) * index as f64 / BINS as f64;
        let bar =
            |(index, share): (usize, &f64)| (axes.at(border(index), *share), axes.at(border(index + 1), 0.0));
        shares.iter().enumerate().filter(|(_, share)| **share > 0.0).map(bar).collect()
    };
    for (from, to) in bars(&good) {
        canvas.rectangle(from, to, PALE_BLUE);
    }
    for (from, to) in bars(&bad) {
        canvas.hatched(from, to, 3.0, VERMILION);
    }
    outline(&mut canvas, &bars(&good), 0.5, BLUE);
    outline(&mut canvas, &bars(&bad), 1.1, VERMILION);
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

/// Percent of all that are counted, bin by bin: few anomalous images stay visible beside many good ones.
fn shares(counts: &[usize; BINS]) -> [f64; BINS] {
    let all = counts.iter().sum::<usize>().max(1) as f64;
    counts.map(|count| 100.0 * count as f64 / all)
}

/// The edge of bars, from their upper left to their lower right corners; one line around those that touch.
fn outline(canvas: &mut Canvas, bars: &[(Point, Point)], width: f64, colour: Colour) {
    let touch = |a: &(Point, Point), b: &(Point, Point)| (a.1.0 - b.0.0).abs() < 1e-6;
    for group in bars.chunk_by(touch) {
        let mut edge = vec![];
        edge.extend(group.first().map(|(from, to)| (from.0, to.1)));
        edge.extend(group.iter().flat_map(|(from, to)| [*from, (to.0, from.1)]));
        edge.extend(group.last().map(|(_, to)| *to));
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
    canvas.line(corners, 0.5, BLUE);
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
