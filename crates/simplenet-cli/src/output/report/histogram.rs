//! Image scores as an inline SVG: good parts above the axis, defective ones below, the threshold across both.
//!
//! In: scores with their labels, the threshold and the band for review. Out: one `<svg>`; its colours come from the
//! page's style, so it follows light and dark. Without labels all scores stand above the axis. The script moves the
//! threshold; the elements that it moves bear the class `moves`.

use super::html::score;
use crate::output::score_bins::{BINS, Bins, Scored, extent, ticks};
use std::fmt::Write;

const WIDTH: f64 = 560.0;
const LEFT: f64 = 34.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 46.0;
/// Height of the bars on one side of the axis.
const SIDE: f64 = 84.0;

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
    use crate::output::prediction::Verdict;

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
