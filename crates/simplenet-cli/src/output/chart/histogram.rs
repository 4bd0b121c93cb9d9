//! The image scores of a category with threshold and band for review.
//!
//! In: its predictions. Out: a figure for papers, which shows the fraction of each kind of images (good ones filled, anomalous ones
//! hatched with a dark outline in front, so that both show where they overlap); or a chart of the page, which counts them, good
//! parts above the axis and defective ones below. The script moves its elements of class `moves`. Nothing without a score.

use super::axes::{Axes, Scale};
use super::bins::{BINS, Bins, extent_of, scores_of, ticks};
use super::canvas::{Anchor, Canvas, DASHES, DOTS, Point, Shape, title};
use super::style::{BLACK, BLUE, Colour, LINE, OF_PAGE, PALE_BLUE, PAPER, SMALL, VERMILION, WIDTH, width_of};
use super::svg;
use crate::output::OutputError;
use crate::output::report::CategoryReport;
use crate::output::report::html::score;

/// Height of the frame.
const FRAME: f64 = 120.0;
/// Fewest scores without labels that are worth a figure: `infer` is often called for a few photographs.
pub const FEWEST_UNLABELLED: usize = 10;

/// The figure for papers; `None` also with few scores that bear no label.
pub(in crate::output) fn paper(category: &CategoryReport) -> Result<Option<Canvas>, OutputError> {
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
    let upwards = if labelled { "images of each kind (%)" } else { "images (%)" };
    let scales = (Scale::linear(low, high, "image score"), Scale::linear(0.0, tallest, upwards));
    let axes = Axes::new(PAPER, scales, WIDTH, (top, top + FRAME));
    let mut canvas = axes.canvas();
    title(&mut canvas, &category.name, axes.left, axes.right)?;
    axes.grid(&mut canvas);

    let bars = |shares: &[f64; BINS]| -> Vec<(Point, Point)> {
        let border = |index: usize| low + (high - low) * index as f64 / BINS as f64;
        // At borders of pixels, so that nothing shines through between bars that touch.
        let at = |index: usize, share: f64| {
            let (x, y) = axes.at(border(index), share);
            ((x * 4.0).round() / 4.0, y)
        };
        let bar = |(index, share): (usize, &f64)| (at(index, *share), at(index + 1, 0.0));
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
    let sample_at = |x: f64| ((x, y - 3.0), (x + sample, y + 3.0));
    let edge = |((x0, y0), (x1, y1)): (Point, Point)| vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)];
    canvas.rectangle(sample_at(x).0, sample_at(x).1, PALE_BLUE);
    canvas.line(edge(sample_at(x)), 0.5, BLUE);
    canvas.text((x + sample + gap, y), SMALL, Anchor::Start, BLACK, first.clone());
    if labelled {
        x += sample + gap + width_of(&first, SMALL)? + between;
        canvas.hatched(sample_at(x).0, sample_at(x).1, 3.0, VERMILION);
        canvas.line(edge(sample_at(x)), 1.1, VERMILION);
        canvas.text((x + sample + gap, y), SMALL, Anchor::Start, BLACK, format!("anomalous ({bad})"));
    }
    let (mut x, y) = (left, y + LINE);
    for (name, value, dashes) in
        [("threshold", category.threshold, DASHES), ("review from", category.review_threshold, DOTS)]
    {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            let text = format!("{name} {}", score(value));
            canvas.dashed((x, y), (x + sample, y), dashes, 1.0, BLACK);
            canvas.text((x + sample + gap, y), SMALL, Anchor::Start, BLACK, text.clone());
            x += sample + gap + width_of(&text, SMALL)? + between;
        }
    }
    Ok(())
}

/// Width of the page's chart, and its edges left, right and above the bars.
const PAGE_WIDTH: f64 = 560.0;
const LEFT: f64 = 34.0;
const RIGHT: f64 = PAGE_WIDTH - 12.0;
const TOP: f64 = 46.0;
/// Height of the bars on one side of the axis.
const SIDE: f64 = 84.0;
/// Size of the page's text, which its style sheet sets.
const TEXT: f64 = 13.0;

/// The page's chart; empty text without a finite score. Without labels all scores stand above the axis.
pub(in crate::output) fn page(category: &CategoryReport) -> String {
    let Some((low, high)) = extent_of(category) else { return String::new() };
    let scores = scores_of(category);
    let bins = Bins::count(&scores, low, high);
    let labelled = scores.iter().any(|(_, label)| label.is_some());
    let axis = TOP + SIDE;
    let bottom = if labelled { axis + SIDE } else { axis };
    let x = |value: f64| LEFT + (value - low) / (high - low) * (RIGHT - LEFT);
    let place = |value: Option<f32>| value.filter(|v| v.is_finite()).map(|v| x(f64::from(v)));
    let mut canvas = Canvas::new(PAGE_WIDTH, bottom + 30.0);

    // What is rejected, and what a person should look at, behind the bars.
    let (threshold, review) = (place(category.threshold), place(category.review_threshold));
    if let Some(threshold) = threshold {
        canvas.bar((threshold, TOP), (RIGHT, bottom), Colour::Class("reject moves"), "");
        if let Some(review) = review {
            canvas.bar((review, TOP), (review.max(threshold), bottom), Colour::Class("review moves"), "");
        }
    }
    let tallest = bins.tallest().max(1);
    // The square root keeps single images visible beside hundreds.
    let height = |count: usize| (count as f64 / tallest as f64).sqrt() * (SIDE - 4.0);
    let step = (high - low) / BINS as f64;
    let first = if labelled { "good" } else { "plain" };
    for index in 0..BINS {
        let (from, to) = (low + step * index as f64, low + step * (index + 1) as f64);
        let (left, right) = (x(from) + 0.75, x(to) - 0.75);
        let tip = |count: usize| format!("{count} at score {} to {}", score(from as f32), score(to as f32));
        let (above, below) = (bins.above[index], bins.below[index]);
        if above > 0 {
            canvas.bar((left, axis - height(above)), (right, axis), Colour::Class(first), tip(above));
        }
        if below > 0 {
            canvas.bar((left, axis), (right, axis + height(below)), Colour::Class("bad"), tip(below));
        }
    }
    canvas.line(vec![(LEFT, axis), (RIGHT, axis)], 1.0, Colour::Class("axis"));
    let mut counts = vec![(axis - SIDE + 4.6, tallest), (axis + 0.6, 0)];
    counts.extend(labelled.then_some((axis + SIDE - 3.4, tallest)));
    for (y, count) in counts {
        canvas.text((LEFT - 6.0, y), TEXT, Anchor::End, OF_PAGE, count.to_string());
    }
    for (value, label) in ticks(low, high) {
        canvas.line(vec![(x(value), bottom), (x(value), bottom + 5.0)], 1.0, Colour::Class("axis"));
        canvas.text((x(value), bottom + 16.6), TEXT, Anchor::Middle, OF_PAGE, label);
    }
    page_legend(&mut canvas, first, &bins);
    if let (Some(at), Some(value)) = (threshold, category.threshold) {
        let colour = Colour::Class("threshold moves");
        canvas.line(vec![(at, TOP - 16.0), (at, bottom)], 2.0, colour);
        let (anchor, shift) = if at > PAGE_WIDTH * 0.7 { (Anchor::End, -5.0) } else { (Anchor::Start, 5.0) };
        canvas.text((at + shift, TOP - 9.4), TEXT, anchor, colour, format!("threshold {}", score(value)));
    }
    let edges = format!(" class=\"histogram\" data-left=\"{LEFT}\" data-right=\"{RIGHT}\"");
    svg::inline(&canvas, "Histogram of image scores", &edges)
}

/// What the bars are, above them.
fn page_legend(canvas: &mut Canvas, first: &'static str, bins: &Bins) {
    let (good, bad) = (bins.above.iter().sum::<usize>(), bins.below.iter().sum::<usize>());
    let entries = match first {
        "good" => vec![("good", format!("good ({good})")), ("bad", format!("defective ({bad})"))],
        _ => vec![("plain", format!("all images ({good})"))],
    };
    let mut left = LEFT;
    for (class, text) in entries {
        let (from, to) = ((left, 4.0), (left + 11.0, 15.0));
        let colour = Colour::Class(class);
        canvas.shapes.push(Shape::Bar { from, to, round: 2.0, colour, tip: String::new() });
        let next = left + 36.0 + 7.5 * text.len() as f64;
        canvas.text((left + 16.0, 10.6), TEXT, Anchor::Start, OF_PAGE, text);
        left = next;
    }
    canvas.text((RIGHT, 10.6), TEXT, Anchor::End, Colour::Class("hint"), "images by score, √ scale");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::chart::bins::Scored;
    use crate::output::prediction::{PredictionLine, PredictionRecord, Verdict, tests::record};

    fn histogram(scores: &[Scored], threshold: Option<f32>, review_threshold: Option<f32>) -> String {
        let line = |&(score, label): &Scored| {
            PredictionLine::Prediction(PredictionRecord { label, ..record("a.png", score) })
        };
        let predictions = scores.iter().map(line).collect();
        page(&CategoryReport { threshold, review_threshold, predictions, ..CategoryReport::default() })
    }

    fn good(score: f32) -> Scored {
        (score, Some(Verdict::Normal))
    }

    fn bad(score: f32) -> Scored {
        (score, Some(Verdict::Anomalous))
    }

    #[test]
    fn counts_labels_and_threshold_are_drawn() {
        let scores: Vec<Scored> =
            (0..50).map(|i| good(i as f32 * 0.01)).chain([bad(0.9), bad(0.95)]).collect();
        let svg = histogram(&scores, Some(0.6), None);
        assert!(svg.contains("good (50)") && svg.contains("defective (2)"), "{svg}");
        assert!(svg.contains("threshold 0.600"));
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn odd_inputs_draw_something_or_nothing() {
        assert_eq!(histogram(&[], Some(0.5), None), "");
        assert_eq!(histogram(&[good(f32::NAN)], None, None), "");
        for scores in
            [vec![good(0.0)], vec![bad(-3.0), bad(-3.0)], vec![(1e-9, None)], vec![good(1e30), bad(-1e30)]]
        {
            for threshold in [None, Some(0.0), Some(f32::INFINITY)] {
                let svg = histogram(&scores, threshold, threshold);
                assert!(svg.contains("<rect") && !svg.contains("NaN"), "{scores:?} {threshold:?}: {svg}");
            }
        }
        assert!(histogram(&[(1.0, None)], None, None).contains("all images (1)"));
    }
}
