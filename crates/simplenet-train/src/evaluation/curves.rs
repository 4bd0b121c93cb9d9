//! Curves of an evaluated test set, for drawing.
//!
//! In: evaluated images. Out: points of the curve of per-region overlap, where it is defined.

use simplenet_metrics::{AnomalyMap, PixelRanking, ProPoint};

use crate::evaluation::Evaluated;

/// The curve of per-region overlap over all images, whose maps are `size` = (width, height): the one that AUPRO is the area
/// under, thinned to `parts` parts of either rate. `None` where it is undefined: an anomalous image without a mask, no region, no
/// defect-free pixel.
pub fn pro_curve(images: &[Evaluated], size: (u32, u32), parts: usize) -> Option<Vec<ProPoint>> {
    let (width, height) = (size.0 as usize, size.1 as usize);
    let maps = images
        .iter()
        .map(|image| {
            let (scores, mask) = (image.inspection.map.as_slice(), image.mask.as_deref()?);
            Some(AnomalyMap { scores, mask, width, height })
        })
        .collect::<Option<Vec<_>>>()?;
    PixelRanking::of(&maps).ok()?.thin_pro_curve(parts).ok()
}
