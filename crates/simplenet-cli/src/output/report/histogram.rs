//! Image scores as an inline SVG: good parts above the axis, defective ones below, the threshold across both.
//!
//! In: scores with their labels, the threshold and the band for review. Out: one `<svg>`; its colours come from the
//! page's style, so it follows light and dark. Without labels all scores stand above the axis. The script moves the
//! threshold; the elements that it moves bear the class `moves`.

use super::CategoryReport;
use super::html::score;
use super::interest::records;
use crate::output::prediction::Verdict;
use std::fmt::Write;

/// One image's score and label.
pub(super) type Scored = (f32, Option<Verdict>);

const WIDTH: f64 = 560.0;
const LEFT: f64 = 34.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 46.0;
/// Height of the bars on one side of the axis.
const SIDE: f64 = 84.0;
const BINS: usize = 36;

/// The ends of a category's histogram; `None` without a finite score.
pub(super) fn extent_of(category: &CategoryReport) -> Option<(f64, f64)> {
    let scores: Vec<f32> =
        records(&category.predictions).map(|(_, r)| r.score).filter(|s| s.is_finite()).collect();
    let borders = [category.threshold, category.review_threshold].into_iter().flatten();
    let borders: Vec<f32> = borders.filter(|t| t.is_finite()).collect();
    if scores.is_empty() { None } else { extent(scores.into_iter().chain(borders)) }
}

/// The histogram; empty text without a finite score.
pub(super) fn histogram(scores: &[Scored], threshold: Option<f32>, review: Option<f32>) -> String {
    let scores: Vec<Scored> = scores.iter().copied().filter(|(s, _)| s.is_finite()).collect();
    let threshold = threshold.filter(|t| t.is_finite());
    let review = review.filter(|t| t.is_finite());
    let Some((low, high)) = extent(scores.iter().map(|s| s.0).chain(threshold).chain(review)) else {
        return String::new();
    };
    if scores.is_empty() {
        return String::new();
    }
    let bins = Bins::count(&scores, low, high);
    let labelled = bins.below.iter().any(|n| *n > 0) || scores.iter().any(|s| s.1.is_some());
    let below = if labelled { SIDE } else { 0.0 };
    let axis = TOP + SIDE;
    let height = axis + below + 30.0;
    let x = |value: f64| LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT);
    let right = WIDTH - RIGHT;
    let mut svg = format!(
        "<svg class=\"histogram\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Histogram of image scores\" \
         data-left=\"{LEFT}\" data-right=\"{right}\">"
    );
    ranges(&mut svg, threshold.map(|t| x(f64::from(t))), review.map(|t| x(f64::from(t))), axis + below);
    let tallest = bins.tallest().max(1);
    let step = (high - low) / BINS as f64;
    for (index, (&above, &under)) in bins.above.iter().zip(&bins.below).enumerate() {
        let (from, to) = (low + step * index as f64, low + step * (index + 1) as f64);
        let range = format!("score {} to {}", score(from as f32), score(to as f32));
        let class = if labelled { "good" } else { "plain" };
        bar(&mut svg, class, (x(from), x(to)), (axis, -1.0), (above, tallest), &range);
        bar(&mut svg, "bad", (x(from), x(to)), (axis, 1.0), (under, tallest), &range);
    }
    axes(&mut svg, (low, high), axis, below, tallest, &x);
    let (good, bad) = (bins.above.iter().sum::<usize>(), bins.below.iter().sum::<usize>());
    if labelled {
        legend(&mut svg, &[("good", format!("good ({good})")), ("bad", format!("defective ({bad})"))]);
    } else {
        legend(&mut svg, &[("plain", format!("all images ({good})"))]);
    }
    if let Some(threshold) = threshold {
        let at = x(f64::from(threshold));
        let (anchor, shift) = if at > WIDTH * 0.7 { ("end", -5.0) } else { ("start", 5.0) };
        let _ = write!(
            svg,
            "<line class=\"threshold moves\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
             <text class=\"threshold moves\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">threshold {}</text>",
            TOP - 16.0,
            axis + below,
            at + shift,
            TOP - 6.0,
            score(threshold)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// What is rejected, and what a person should look at, as shaded ranges behind the bars.
fn ranges(svg: &mut String, threshold: Option<f64>, review: Option<f64>, bottom: f64) {
    let Some(threshold) = threshold else { return };
    let mut shade = |class: &str, from: f64, to: f64| {
        let _ = write!(
            svg,
            "<rect class=\"{class} moves\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            (to - from).max(0.0),
            bottom - TOP
        );
    };
    shade("reject", threshold, WIDTH - RIGHT);
    if let Some(review) = review {
        shade("review", review, threshold);
    }
}

/// Counts per bin: good (or unlabelled) above, defective below.
struct Bins {
    above: [usize; BINS],
    below: [usize; BINS],
}

impl Bins {
    fn count(scores: &[Scored], low: f64, high: f64) -> Self {
        let mut bins = Self { above: [0; BINS], below: [0; BINS] };
        for (score, label) in scores {
            let position = (f64::from(*score) - low) / (high - low) * BINS as f64;
            let index = (position as usize).min(BINS - 1);
            match label {
                Some(Verdict::Anomalous) => bins.below[index] += 1,
                _ => bins.above[index] += 1,
            }
        }
        bins
    }

    fn tallest(&self) -> usize {
        self.above.iter().chain(&self.below).copied().max().unwrap_or(0)
    }
}

/// Smallest and largest value with a margin; a single value gets room around it.
fn extent(values: impl Iterator<Item = f32>) -> Option<(f64, f64)> {
    let (low, high) = values.map(f64::from).fold(None, |range: Option<(f64, f64)>, v| {
        Some(range.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
    })?;
    let margin = ((high - low) * 0.02).max(low.abs().max(high.abs()) * 1e-3).max(1e-6);
    Some((low - margin, high + margin))
}

/// One bar with its tooltip; the square root keeps single images visible beside hundreds.
fn bar(
    svg: &mut String,
    class: &str,
    (from, to): (f64, f64),
    (axis, direction): (f64, f64),
    (count, tallest): (usize, usize),
    range: &str,
) {
    if count == 0 {
        return;
    }
    let height = (count as f64 / tallest as f64).sqrt() * (SIDE - 4.0);
    let top = if direction < 0.0 { axis - height } else { axis };
    let _ = write!(
        svg,
        "<rect class=\"{class}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\">\
         <title>{count} at {range}</title></rect>",
        from + 0.75,
        to - from - 1.5
    );
}

fn axes(
    svg: &mut String,
    (low, high): (f64, f64),
    axis: f64,
    below: f64,
    tallest: usize,
    x: &dyn Fn(f64) -> f64,
) {
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{axis}\" y2=\"{axis}\"/>",
        WIDTH - RIGHT
    );
    let mut count_label = |y: f64, count: usize| {
        let _ =
            write!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{count}</text>", LEFT - 6.0, y + 4.0);
    };
    count_label(axis - SIDE + 4.0, tallest);
    count_label(axis, 0);
    if below > 0.0 {
        count_label(axis + SIDE - 4.0, tallest);
    }
    let bottom = axis + below;
    for tick in ticks(low, high) {
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{bottom}\" y2=\"{1}\"/>\
             <text x=\"{0:.1}\" y=\"{2}\" text-anchor=\"middle\">{3}</text>",
            x(tick.0),
            bottom + 5.0,
            bottom + 20.0,
            tick.1
        );
    }
}

/// Round values inside the range, with as many decimals as their distance needs.
fn ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let rough = (high - low) / 8.0;
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(10.0 * power);
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let first = (low / step).ceil() as i64;
    (first..first + 12)
        .map(|k| k as f64 * step)
        .take_while(|v| *v <= high)
        .map(|v| (v, format!("{:.decimals$}", if v == 0.0 { 0.0 } else { v })))
        .collect()
}

fn legend(svg: &mut String, entries: &[(&str, String)]) {
    let mut left = LEFT;
    for (class, text) in entries {
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"4\" width=\"11\" height=\"11\" rx=\"2\"/>\
             <text x=\"{:.1}\" y=\"14\">{text}</text>",
            left + 16.0
        );
        left += 36.0 + 7.5 * text.len() as f64;
    }
    let _ = write!(
        svg,
        "<text class=\"hint\" x=\"{}\" y=\"14\" text-anchor=\"end\">images by score, √ scale</text>",
        WIDTH - RIGHT
    );
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn ticks_are_round_and_inside() {
        for (low, high) in [(-0.53, 1.62), (0.0, 1e-4), (-1000.0, 5.0), (0.49, 0.51)] {
            let ticks = ticks(low, high);
            assert!((3..=9).contains(&ticks.len()), "{low} {high}: {ticks:?}");
            assert!(ticks.iter().all(|(v, _)| *v >= low && *v <= high), "{ticks:?}");
        }
        let texts: Vec<String> = ticks(-0.53, 1.62).into_iter().map(|t| t.1).collect();
        assert_eq!(texts, ["-0.5", "0.0", "0.5", "1.0", "1.5"]);
    }
}
