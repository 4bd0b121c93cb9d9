//! The metrics behind a C ABI: Python calls them on its numpy arrays, in its own process, without a copy.
//!
//! ```sh
//! cargo build --release -p simplenet-metrics --example python_bridge
//! ```
//!
//! builds `target/release/examples/libpython_bridge.so` (`.dylib` on macOS, `python_bridge.dll` on Windows) for
//! `ctypes.CDLL`. `tests/peers/metrics_peers.py` shows the calls. The number of threads is rayon's: set
//! `RAYON_NUM_THREADS` before the first call.
//!
//! Both functions take `scores` and `masks`, each `images` x `height` x `width` in C order; a mask is 0 where a
//! pixel is normal (numpy's `bool` and `uint8` both are). They return
//! - 0: all went well, `out` is written, and what is undefined for the set is NaN in it;
//! - 1: a pointer is null or not aligned;
//! - 2: the arrays would be larger than the address space;
//! - 3: unusable input: no pixel, a score that is NaN or infinite, 2^32 pixels in an image, impossible bounds;
//! - 4: the crate panicked, a defect of it and worth a report.

use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind};
use std::slice;

use simplenet_metrics::{AnomalyMap, MetricError, PimoBounds, aupimo, pixel_metrics};

const BAD_POINTER: i32 = 1;
const TOO_LARGE: i32 = 2;
const UNUSABLE: i32 = 3;
const PANICKED: i32 = 4;

/// Values in front of the AUPROs: AUROC, average precision, F1-max, its threshold.
const FIXED_VALUES: usize = 4;

/// Pixel AUROC, average precision, F1-max, its threshold, and AUPRO at each limit of the false-positive rate.
///
/// `limits`: `limit_count` limits, each above 0 and at most 1 (elsewhere: NaN). `out`: room for 4 + `limit_count`
/// values.
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
    // SAFETY: the caller vouches for both arrays.
    let maps = unsafe { maps(scores, masks, images, height, width) };
    // SAFETY: the caller vouches for `limit_count` limits.
    let limits = unsafe { array(limits, &[limit_count]) };
    let (maps, limits) = match (maps, limits) {
        (Ok(maps), Ok(limits)) => (maps, limits),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    let values = || {
        let metrics = pixel_metrics(&maps, limits);
        if metrics.normal_pixels + metrics.anomalous_pixels == 0 {
            return Err(UNUSABLE);
        }
        let f1 = metrics.f1_max.as_ref();
        let mut values = Vec::with_capacity(FIXED_VALUES + limits.len());
        values.push(metrics.auroc.unwrap_or(f64::NAN));
        values.push(metrics.average_precision.unwrap_or(f64::NAN));
        values.push(f1.map_or(f64::NAN, |best| best.f1));
        values.push(f1.map_or(f64::NAN, |best| f64::from(best.threshold)));
        values.extend(metrics.aupro.into_iter().map(|area| area.unwrap_or(f64::NAN)));
        Ok(values)
    };
    // SAFETY: the caller vouches for room for 4 + `limit_count` values, and `values` gives that many.
    unsafe { write(values, limit_count.saturating_add(FIXED_VALUES), out) }
}

/// AUPIMO between two shared false-positive rates: the mean over the anomalous images, then one value for each
/// image of the set, NaN for normal ones.
///
/// `out`: room for 1 + `images` values, all NaN where AUPIMO is undefined.
///
/// # Safety
/// As [`simplenet_pixel_metrics`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn simplenet_aupimo(
    scores: *const f32,
    masks: *const u8,
    images: usize,
    height: usize,
    width: usize,
    lower: f64,
    upper: f64,
    out: *mut f64,
) -> i32 {
    // SAFETY: the caller vouches for both arrays.
    let maps = match unsafe { maps(scores, masks, images, height, width) } {
        Ok(maps) => maps,
        Err(code) => return code,
    };
    let values = || {
        let mut values = vec![f64::NAN; images.saturating_add(1)];
        match aupimo(&maps, PimoBounds { lower, upper }) {
            Ok(result) => {
                values[0] = result.mean;
                result.per_image.iter().for_each(|score| values[1 + score.image] = score.aupimo);
                Ok(values)
            }
            Err(
                MetricError::NoNormalImages
                | MetricError::NoAnomalousImages
                | MetricError::CoarseFalsePositiveRate { .. },
            ) => Ok(values),
            Err(_) => Err(UNUSABLE),
        }
    };
    // SAFETY: the caller vouches for room for 1 + `images` values, and `values` gives that many.
    unsafe { write(values, images.saturating_add(1), out) }
}

/// The arrays, cut into images; or the code to return.
///
/// # Safety
/// `scores` and `masks` must be readable for `images` x `height` x `width` elements, and unchanged, for `'a`.
unsafe fn maps<'a>(
    scores: *const f32,
    masks: *const u8,
    images: usize,
    height: usize,
    width: usize,
) -> Result<Vec<AnomalyMap<'a>>, i32> {
    // SAFETY: as the caller of this function vouches.
    let (scores, masks) = unsafe {
        (array::<f32>(scores, &[height, width, images])?, array::<u8>(masks, &[height, width, images])?)
    };
    if scores.is_empty() {
        return Err(UNUSABLE);
    }
    let pixels = height * width; // not 0, and no overflow: checked above
    let cut = scores.chunks_exact(pixels).zip(masks.chunks_exact(pixels));
    Ok(cut.map(|(scores, mask)| AnomalyMap { scores, mask, width, height }).collect())
}

/// A slice of as many elements as the product of `sizes`; or the code to return.
///
/// # Safety
/// `pointer` must be readable for that many elements, and they unchanged, for `'a`.
unsafe fn array<'a, T>(pointer: *const T, sizes: &[usize]) -> Result<&'a [T], i32> {
    let count = elements::<T>(pointer, sizes)?;
    // SAFETY: not null, aligned, at most isize::MAX bytes (checked above), and readable as the caller vouches.
    Ok(unsafe { slice::from_raw_parts(pointer, count) })
}

/// Writes what `values` returns to `out`; returns the code.
///
/// # Safety
/// `out` must be writable for `count` values, and nobody else may touch them meanwhile.
unsafe fn write(
    values: impl FnOnce() -> Result<Vec<f64>, i32> + UnwindSafe + RefUnwindSafe,
    count: usize,
    out: *mut f64,
) -> i32 {
    if let Err(code) = elements(out, &[count]) {
        return code;
    }
    // A panic must not cross into C.
    match catch_unwind(values) {
        Ok(Ok(values)) => {
            // SAFETY: not null, aligned, at most isize::MAX bytes (checked above), and writable as the caller vouches.
            let out = unsafe { slice::from_raw_parts_mut(out, count) };
            out.iter_mut().zip(values).for_each(|(place, value)| *place = value);
            0
        }
        Ok(Err(code)) => code,
        Err(_) => PANICKED,
    }
}

/// The product of `sizes`, if a slice at `pointer` may have that many elements; or the code to return.
fn elements<T>(pointer: *const T, sizes: &[usize]) -> Result<usize, i32> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(BAD_POINTER);
    }
    let count = sizes.iter().try_fold(1usize, |count, &size| count.checked_mul(size)).ok_or(TOO_LARGE)?;
    let bytes = count.checked_mul(size_of::<T>()).ok_or(TOO_LARGE)?;
    isize::try_from(bytes).map(|_| count).map_err(|_| TOO_LARGE)
}
