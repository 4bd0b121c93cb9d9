//! The metrics as their definitions read: every threshold looks at every sample. Slow, and hard to get wrong.
//!
//! `None` = undefined.

use crate::support::Image;

/// Distinct scores, descending (0 and -0 are one).
pub(crate) fn thresholds(scores: &[f32]) -> Vec<f32> {
    let mut values = scores.to_vec();
    values.sort_by(|a, b| b.partial_cmp(a).unwrap());
    values.dedup();
    values
}

/// True and false positives at each threshold.
fn counts(scores: &[f32], labels: &[bool]) -> Vec<(f32, f64, f64)> {
    let at = |threshold: f32, class: bool| {
        scores.iter().zip(labels).filter(|&(&score, &label)| label == class && score >= threshold).count()
            as f64
    };
    thresholds(scores).into_iter().map(|t| (t, at(t, true), at(t, false))).collect()
}

fn class_sizes(labels: &[bool]) -> (f64, f64) {
    let positives = labels.iter().filter(|&&label| label).count();
    (positives as f64, (labels.len() - positives) as f64)
}

/// Share of (anomalous, normal) pairs in the right order.
pub(crate) fn auroc(scores: &[f32], labels: &[bool]) -> Option<f64> {
    let (positives, negatives) = class_sizes(labels);
    let mut ordered = 0.0;
    for (&high, _) in scores.iter().zip(labels).filter(|&(_, &label)| label) {
        for (&low, _) in scores.iter().zip(labels).filter(|&(_, &label)| !label) {
            ordered += if high > low {
                1.0
            } else if high == low {
                0.5
            } else {
                0.0
            };
        }
    }
    (positives > 0.0 && negatives > 0.0).then(|| ordered / (positives * negatives))
}

pub(crate) fn average_precision(scores: &[f32], labels: &[bool]) -> Option<f64> {
    let (positives, _) = class_sizes(labels);
    let (mut sum, mut before) = (0.0, 0.0);
    for (_, tp, fp) in counts(scores, labels) {
        let recall = tp / positives;
        sum += (recall - before) * (tp / (tp + fp));
        before = recall;
    }
    (positives > 0.0).then_some(sum)
}

/// F1 at each threshold, descending.
pub(crate) fn f1(scores: &[f32], labels: &[bool]) -> Option<Vec<(f32, f64)>> {
    let (positives, _) = class_sizes(labels);
    let f1 = |(t, tp, fp)| (t, 2.0 * tp / (2.0 * tp + fp + (positives - tp)));
    (positives > 0.0).then(|| counts(scores, labels).into_iter().map(f1).collect())
}

/// Regions as lists of pixels, by flood fill.
pub(crate) fn regions(image: &Image, diagonal: bool) -> Vec<Vec<usize>> {
    let (width, height) = (image.width as isize, image.height as isize);
    let mut seen = vec![false; image.mask.len()];
    let mut regions = Vec::new();
    for start in 0..image.mask.len() {
        if image.mask[start] == 0 || seen[start] {
            continue;
        }
        let (mut region, mut open) = (Vec::new(), vec![start]);
        seen[start] = true;
        while let Some(pixel) = open.pop() {
            region.push(pixel);
            let (x, y) = (pixel as isize % width, pixel as isize / width);
            for (dx, dy) in (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy))) {
                let (nx, ny) = (x + dx, y + dy);
                if (!diagonal && dx != 0 && dy != 0) || nx < 0 || ny < 0 || nx >= width || ny >= height {
                    continue;
                }
                let next = (ny * width + nx) as usize;
                if image.mask[next] != 0 && !seen[next] {
                    seen[next] = true;
                    open.push(next);
                }
            }
        }
        regions.push(region);
    }
    regions
}

/// (false-positive rate, mean region overlap) at `threshold`; `found` decides about a pixel of an image.
fn pro_at(
    images: &[Image],
    predicted: impl Fn(&Image, usize) -> bool,
    found: impl Fn(&Image, usize) -> bool,
) -> Option<(f64, f64)> {
    let (mut fp, mut normal, mut overlaps) = (0.0, 0.0, Vec::new());
    for image in images {
        for pixel in (0..image.mask.len()).filter(|&pixel| image.mask[pixel] == 0) {
            normal += 1.0;
            fp += f64::from(predicted(image, pixel));
        }
        for region in regions(image, true) {
            let inside = region.iter().filter(|&&pixel| found(image, pixel)).count();
            overlaps.push(inside as f64 / region.len() as f64);
        }
    }
    let count = overlaps.len() as f64;
    (normal > 0.0 && count > 0.0).then(|| (fp / normal, overlaps.iter().sum::<f64>() / count))
}

/// (threshold, false-positive rate, overlap) from (0, 0), thresholds descending.
pub(crate) fn pro_curve(images: &[Image]) -> Option<Vec<(f32, f64, f64)>> {
    let scores: Vec<f32> = images.iter().flat_map(|image| image.scores.iter().copied()).collect();
    let mut curve = vec![(f32::INFINITY, 0.0, 0.0)];
    for t in thresholds(&scores) {
        let above = |image: &Image, pixel: usize| image.scores[pixel] >= t;
        let (fpr, pro) = pro_at(images, above, above)?;
        curve.push((t, fpr, pro));
    }
    Some(curve)
}

/// Trapezoids up to the limit, the last one cut by linear interpolation.
pub(crate) fn aupro(images: &[Image], limit: f64) -> Option<f64> {
    Some(area_up_to(&pro_curve(images)?, limit))
}

fn area_up_to(curve: &[(f32, f64, f64)], limit: f64) -> f64 {
    let mut area = 0.0;
    for pair in curve.windows(2) {
        let ((_, x0, y0), (_, x1, y1)) = (pair[0], pair[1]);
        if x0 >= limit {
            break;
        }
        let (x, y) = if x1 > limit { (limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)) } else { (x1, y1) };
        area += (x - x0) * (y0 + y) / 2.0;
    }
    area / limit
}

/// An image, the masks of its defects, and their saturation areas. The image's own mask marks all of them.
pub(crate) type DefectImage<'a> = (&'a Image, &'a [Vec<u8>], Vec<usize>);

/// Area under the saturated overlap curve.
pub(crate) fn auspro(images: &[DefectImage<'_>], limit: f64) -> Option<f64> {
    let scores: Vec<f32> = images.iter().flat_map(|(image, ..)| image.scores.iter().copied()).collect();
    let mut curve = vec![(f32::INFINITY, 0.0, 0.0)];
    for t in thresholds(&scores) {
        let (mut fp, mut normal, mut overlaps) = (0.0, 0.0, Vec::new());
        for (image, masks, saturation_areas) in images {
            for pixel in (0..image.mask.len()).filter(|&pixel| image.mask[pixel] == 0) {
                normal += 1.0;
                fp += f64::from(image.scores[pixel] >= t);
            }
            for (mask, &saturation_area) in masks.iter().zip(saturation_areas) {
                let inside = |&pixel: &usize| mask[pixel] != 0 && image.scores[pixel] >= t;
                let found = (0..mask.len()).filter(inside).count();
                overlaps.push((found as f64 / saturation_area as f64).min(1.0));
            }
        }
        if normal == 0.0 || overlaps.is_empty() {
            return None;
        }
        curve.push((t, fp / normal, overlaps.iter().sum::<f64>() / overlaps.len() as f64));
    }
    Some(area_up_to(&curve, limit))
}

/// AUPIMO of each anomalous image, with its index.
pub(crate) fn aupimo(images: &[Image], lower: f64, upper: f64) -> Option<Vec<(usize, f64)>> {
    let is_normal = |image: &&Image| image.mask.iter().all(|&value| value == 0);
    let normal: Vec<&Image> =
        images.iter().filter(is_normal).filter(|image| !image.mask.is_empty()).collect();
    let scores: Vec<f32> = images.iter().flat_map(|image| image.scores.iter().copied()).collect();
    let share = |image: &Image, t: f32, anomalous: bool| {
        let pixels = || (0..image.mask.len()).filter(|&pixel| (image.mask[pixel] != 0) == anomalous);
        pixels().filter(|&pixel| image.scores[pixel] >= t).count() as f64 / pixels().count() as f64
    };
    let thresholds = thresholds(&scores);
    let rates: Vec<f64> = thresholds
        .iter()
        .map(|&t| normal.iter().map(|image| share(image, t, false)).sum::<f64>() / normal.len() as f64)
        .collect();
    let first = *rates.iter().find(|&&rate| rate > 0.0)?;
    // The comparison below is of the same kind as the library's, logarithms, so that ties fall alike.
    if first.ln() > lower.ln() {
        return None;
    }
    let mut values = Vec::new();
    for (index, image) in images.iter().enumerate().filter(|(_, image)| !is_normal(image)) {
        let found: Vec<f64> = thresholds.iter().map(|&t| share(image, t, true)).collect();
        let mut area = 0.0;
        for i in 1..thresholds.len() {
            let (x0, x1) = (rates[i - 1].ln(), rates[i].ln());
            let (from, to) = (x0.max(lower.ln()), x1.min(upper.ln()));
            if from < to {
                let at = |x: f64| found[i - 1] + (found[i] - found[i - 1]) * (x - x0) / (x1 - x0);
                area += (to - from) * (at(from) + at(to)) / 2.0;
            }
        }
        values.push((index, area / (upper / lower).ln()));
    }
    (!values.is_empty()).then_some(values)
}

/// The official `compute_pro`, step by step.
pub(crate) fn simplenet_compute_pro(images: &[Image]) -> Option<f64> {
    let scores = images.iter().flat_map(|image| image.scores.iter().copied());
    let (min, max) =
        scores.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), s| (low.min(s), high.max(s)));
    if min == max {
        return None;
    }
    let delta = (max - min) / 200.0;
    let length = ((max - min) / delta).ceil() as usize;
    let mut points = Vec::new();
    for i in 0..length {
        let t = min + i as f32 * ((min + delta) - min);
        let above = |image: &Image, pixel: usize| image.scores[pixel] > t;
        let dilated = |image: &Image, pixel: usize| {
            let (x, y) = (pixel % image.width, pixel / image.width);
            (0..image.scores.len()).any(|other| {
                let (ox, oy) = (other % image.width, other / image.width);
                above(image, other) && x.abs_diff(ox) <= 2 && y.abs_diff(oy) <= 2
            })
        };
        points.push(pro_at(images, above, dilated)?);
    }
    points.retain(|&(fpr, _)| fpr < 0.3);
    let largest = points.iter().map(|&(fpr, _)| fpr).fold(0.0, f64::max);
    let area = |pair: &[(f64, f64)]| (pair[0].0 - pair[1].0) / largest * (pair[0].1 + pair[1].1) / 2.0;
    (points.len() >= 2 && largest > 0.0).then(|| points.windows(2).map(area).sum())
}
