//! The metrics behind a C ABI: Python calls them on its numpy arrays, in its own process, without a copy.
//!
//! ```sh
//! cargo build --release -p simplenet-metrics --example python_bridge
//! ```
//!
//! builds `target/release/examples/libpython_bridge.so` (`.dylib` on macOS, `python_bridge.dll` on Windows) for
//! `ctypes.CDLL`. `tests/peers/metrics_peers.py` shows the call. The number of threads is rayon's: set
//! `RAYON_NUM_THREADS` before the first call.

use std::panic::catch_unwind;
use std::slice;

use simplenet_metrics::{AnomalyMap, PixelMetrics, pixel_metrics};

/// Everything went well; metrics that are undefined for the set are NaN.
const OK: i32 = 0;
/// A pointer is null or not aligned.
const BAD_POINTER: i32 = 1;
/// The arrays would be larger than the address space.
const TOO_LARGE: i32 = 2;
/// No pixel at all, a score that is NaN or infinite, or an image of 2^32 pixels or more.
const UNUSABLE: i32 = 3;
/// The crate panicked: a defect of it, worth a report.
const PANICKED: i32 = 4;

/// Values in front of the AUPROs: AUROC, average precision, F1-max, its threshold.
const FIXED_VALUES: usize = 4;

/// Pixel AUROC, average precision, F1-max, its threshold, and AUPRO at each limit of the false-positive rate.
///
/// - `scores`, `masks`: `images` x `height` x `width`, C order; a mask is 0 where a pixel is normal (numpy's
///   `bool` and `uint8` both are).
/// - `limits`: `limit_count` limits, each above 0 and at most 1.
/// - `out`: room for 4 + `limit_count` values; written only where 0 is returned. NaN = undefined.
///
/// Returns 0, or 1 (null or misaligned pointer), 2 (too large), 3 (unusable scores), 4 (internal error).
///
/// # Safety
/// Every pointer must be valid for that many elements until the call returns, `out` for writing, and nobody
/// may write to the inputs meanwhile or touch `out`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn simplenet_pixel_metrics(
    scores: *const f32,
    masks: *const u8,
    images: usize,
    height: usize,
    width: usize,
    limits: *const f64,
    limit_count: usize,
    out: *mut f64,
) -> i32 {
    if !usable(scores) || !usable(masks) || !usable(limits) || !usable(out) {
        return BAD_POINTER;
    }
    let values = limit_count.saturating_add(FIXED_VALUES);
    let (Some(pixels), Some(values)) =
        (elements::<f32>(&[height, width, images]), elements::<f64>(&[values]))
    else {
        return TOO_LARGE;
    };
    // SAFETY: not null, aligned, at most isize::MAX bytes (checked above); the caller vouches that this many
    // elements can be read and that nobody writes to them during the call.
    let (scores, masks, limits) = unsafe {
        (
            slice::from_raw_parts(scores, pixels),
            slice::from_raw_parts(masks, pixels),
            slice::from_raw_parts(limits, limit_count),
        )
    };
    // A panic must not cross into C. Nothing that it could leave half done is looked at afterwards.
    let Ok(metrics) = catch_unwind(|| evaluate(scores, masks, height, width, limits)) else {
        return PANICKED;
    };
    if metrics.normal_pixels + metrics.anomalous_pixels == 0 {
        return UNUSABLE;
    }
    // SAFETY: not null, aligned, at most isize::MAX bytes (checked above); the caller vouches for room for
    // `limit_count` + 4 values that nobody else touches. f64 has no invalid bit patterns.
    let out = unsafe { slice::from_raw_parts_mut(out, values) };
    let f1 = metrics.f1_max.as_ref();
    let fixed = [
        metrics.auroc.unwrap_or(f64::NAN),
        metrics.average_precision.unwrap_or(f64::NAN),
        f1.map_or(f64::NAN, |best| best.f1),
        f1.map_or(f64::NAN, |best| f64::from(best.threshold)),
    ];
    let areas = metrics.aupro.iter().map(|area| area.clone().unwrap_or(f64::NAN));
    out.iter_mut().zip(fixed.into_iter().chain(areas)).for_each(|(place, value)| *place = value);
    OK
}

/// Cuts the arrays into maps and evaluates them.
fn evaluate(scores: &[f32], masks: &[u8], height: usize, width: usize, limits: &[f64]) -> PixelMetrics {
    // Not zero: images without pixels leave nothing to cut.
    let pixels = (height * width).max(1);
    let maps: Vec<AnomalyMap<'_>> = scores
        .chunks_exact(pixels)
        .zip(masks.chunks_exact(pixels))
        .map(|(scores, mask)| AnomalyMap { scores, mask, width, height })
        .collect();
    pixel_metrics(&maps, limits)
}

/// Neither null nor misaligned.
fn usable<T>(pointer: *const T) -> bool {
    !pointer.is_null() && pointer.is_aligned()
}

/// The product of `sizes` if that many `T` fit into a slice.
fn elements<T>(sizes: &[usize]) -> Option<usize> {
    let count = sizes.iter().try_fold(1usize, |count, &size| count.checked_mul(size))?;
    let bytes = count.checked_mul(size_of::<T>())?;
    isize::try_from(bytes).ok().map(|_| count)
}
