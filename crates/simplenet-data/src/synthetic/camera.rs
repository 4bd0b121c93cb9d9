//! What the camera makes of the lit part, and the mask of what a defect changed.
//!
//! In: a [`Canvas`] of linear light. Out: first the noise-free exposure (lamp gain and gradient, vignetting,
//! lens blur, tone curve), then 8-bit pixels with sensor noise. A good and a defective exposure of the same
//! part differ by the defect alone; [`defect_mask`] compares them.

use image::{GrayImage, Luma, Rgb, RgbImage};

use super::canvas::{Canvas, coordinate};
use super::math::{exp_neg, mix};
use super::noise::Draw;

/// A mask pixel is set where any channel of the exposure changed by at least this much (full scale 1):
/// 6 of 255 grey levels, several times the sensor noise, about the least that an eye finds.
pub(super) const VISIBLE_CHANGE: f32 = 6.0 / 255.0;

/// How the pictures of a category vary from shot to shot.
#[derive(Clone, Copy)]
pub(super) struct CameraStyle {
    /// Half width of the relative spread of the exposure.
    pub(super) gain_spread: f32,
    /// Greatest relative change of the light from the centre to an edge.
    pub(super) gradient: f32,
    /// Loss of light in the corners.
    pub(super) vignette: f32,
    /// Lens blur: least and greatest standard deviation in pixels of a 320-pixel picture.
    pub(super) blur: (f32, f32),
    /// Noise of the darkest pixel, in grey levels.
    pub(super) read_noise: f32,
    /// Further noise of the brightest pixel, in grey levels.
    pub(super) shot_noise: f32,
}

/// One shot: the style's parameters as drawn for one picture.
pub(super) struct Shot {
    gain: [f32; 3],
    slope: (f32, f32),
    vignette: f32,
    blur: f32,
    read_noise: f32,
    shot_noise: f32,
}

impl Shot {
    /// Draws a shot.
    pub(super) fn draw(style: &CameraStyle, draw: &mut Draw) -> Self {
        let exposure = 1.0 + draw.jitter(style.gain_spread);
        // White balance drifts by about a tenth of the exposure's spread.
        let warmth = draw.jitter(style.gain_spread * 0.12);
        Self {
            gain: [exposure * (1.0 + warmth), exposure, exposure * (1.0 - warmth)],
            slope: (draw.jitter(style.gradient), draw.jitter(style.gradient)),
            vignette: style.vignette * draw.range(0.8, 1.2),
            blur: draw.range(style.blur.0, style.blur.1),
            read_noise: style.read_noise / 255.0,
            shot_noise: style.shot_noise / 255.0,
        }
    }

    /// Linear light to display values in `[0, 1]`, without noise.
    pub(super) fn expose(&self, scene: &Canvas) -> Canvas {
        let size = scene.size;
        let mut lit = scene.clone();
        for (index, pixel) in lit.pixels.iter_mut().enumerate() {
            let (x, y) = (coordinate(index % size, size), coordinate(index / size, size));
            let field =
                (1.0 + self.slope.0 * x + self.slope.1 * y) * (1.0 - self.vignette * (x * x + y * y) * 0.5);
            for (channel, gain) in pixel.iter_mut().zip(self.gain) {
                *channel = (*channel * field * gain).max(0.0);
            }
        }
        let mut picture = blur(&lit, self.blur * size as f32 / 320.0);
        for pixel in &mut picture.pixels {
            *pixel = pixel.map(tone);
        }
        picture
    }

    /// Adds sensor noise and rounds to 8 bits. Most noise is common to the channels and reaches into the next
    /// pixel, as it does after demosaicing.
    pub(super) fn develop(&self, exposure: &Canvas, draw: &mut Draw) -> RgbImage {
        let size = exposure.size;
        let (common, tint) = (smooth_noise(size, draw), smooth_noise(size, draw));
        let mut picture = RgbImage::new(size as u32, size as u32);
        for (index, (target, pixel)) in picture.pixels_mut().zip(&exposure.pixels).enumerate() {
            let deviation = self.read_noise + self.shot_noise * pixel[1];
            let noisy = pixel.map(|channel| channel + deviation * common[index]);
            let tint = 0.35 * deviation * tint[index];
            *target = Rgb([quantise(noisy[0] + tint), quantise(noisy[1]), quantise(noisy[2] - tint)]);
        }
        picture
    }
}

/// Noise of mean 0 and variance 1, each value the mean (times two) of four neighbouring draws.
fn smooth_noise(size: usize, draw: &mut Draw) -> Vec<f32> {
    let raw: Vec<f32> = (0..(size + 1) * (size + 1)).map(|_| draw.gauss()).collect();
    let mut noise = Vec::with_capacity(size * size);
    for row in 0..size {
        let (upper, lower) = (&raw[row * (size + 1)..], &raw[(row + 1) * (size + 1)..]);
        noise.extend((0..size).map(|x| 0.5 * (upper[x] + upper[x + 1] + lower[x] + lower[x + 1])));
    }
    noise
}

/// The pixels that a defect changed visibly: 255 where the exposures differ by [`VISIBLE_CHANGE`], gaps of
/// one pixel closed, specks of fewer than three pixels dropped; 0 elsewhere.
pub(super) fn defect_mask(good: &Canvas, defective: &Canvas) -> GrayImage {
    let size = good.size;
    let changed: Vec<bool> = good.pixels.iter().zip(&defective.pixels).map(|(a, b)| differs(a, b)).collect();
    let at = |mask: &[bool], x: isize, y: isize| {
        let inside = (0..size as isize).contains(&x) && (0..size as isize).contains(&y);
        inside && mask[y as usize * size + x as usize]
    };
    let neighbours = |mask: &[bool], index: usize| {
        let (x, y) = ((index % size) as isize, (index / size) as isize);
        let ring = [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)];
        ring.iter().filter(|(dx, dy)| at(mask, x + dx, y + dy)).count()
    };
    let cleaned: Vec<bool> = (0..changed.len())
        .map(|index| {
            let around = neighbours(&changed, index);
            if changed[index] { around >= 2 } else { around >= 5 }
        })
        .collect();
    GrayImage::from_fn(size as u32, size as u32, |x, y| {
        Luma([if cleaned[y as usize * size + x as usize] { 255 } else { 0 }])
    })
}

fn differs(a: &[f32; 3], b: &[f32; 3]) -> bool {
    a.iter().zip(b).any(|(a, b)| (a - b).abs() >= VISIBLE_CHANGE)
}

/// Linear light to display: a shoulder that compresses highlights, then gamma 2 (a square root, whose bits
/// are the same everywhere).
fn tone(linear: f32) -> f32 {
    let compressed = linear * (1.0 + linear * 0.10) / (1.0 + linear * 0.22);
    compressed.min(1.0).sqrt()
}

fn quantise(value: f32) -> u8 {
    (value * 255.0 + 0.5).floor().clamp(0.0, 255.0) as u8
}

/// Separable Gaussian blur, rim repeated.
fn blur(picture: &Canvas, sigma: f32) -> Canvas {
    if sigma < 0.05 {
        return picture.clone();
    }
    let radius = (3.0 * sigma).ceil() as usize;
    let mut weights: Vec<f32> =
        (0..=radius).map(|k| exp_neg(k as f32 * k as f32 / (2.0 * sigma * sigma))).collect();
    let total = weights[0] + 2.0 * weights[1..].iter().sum::<f32>();
    weights.iter_mut().for_each(|w| *w /= total);

    let size = picture.size;
    let pass = |source: &[[f32; 3]], step: usize, place: fn(usize, usize) -> usize| {
        let last = size - 1;
        let mut target = Vec::with_capacity(source.len());
        for index in 0..source.len() {
            let position = place(index, size);
            let start = index - position * step;
            let mut sum = source[index].map(|v| v * weights[0]);
            for (k, weight) in weights.iter().enumerate().skip(1) {
                let low = source[start + position.saturating_sub(k) * step];
                let high = source[start + (position + k).min(last) * step];
                for channel in 0..3 {
                    sum[channel] += weight * (low[channel] + high[channel]);
                }
            }
            target.push(sum);
        }
        target
    };
    let rows = pass(&picture.pixels, 1, |index, size| index % size);
    Canvas { size, pixels: pass(&rows, size, |index, size| index / size) }
}

/// A style for a well set up inspection cell; categories change what differs.
pub(super) const STEADY_CAMERA: CameraStyle = CameraStyle {
    gain_spread: 0.08,
    gradient: 0.06,
    vignette: 0.12,
    blur: (0.55, 0.75),
    read_noise: 0.3,
    shot_noise: 0.7,
};

/// Colour of a neutral grey surface of the given reflectance and warmth (positive = yellowish).
pub(super) fn grey(level: f32, warmth: f32) -> [f32; 3] {
    [level * mix(1.0, 1.1, warmth), level, level * mix(1.0, 0.86, warmth)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_holds_the_change_and_nothing_else() {
        let good = Canvas { size: 16, pixels: vec![[0.5; 3]; 256] };
        let mut bad = good.clone();
        for index in [5 * 16 + 5, 5 * 16 + 6, 6 * 16 + 5, 6 * 16 + 6] {
            bad.pixels[index][1] += 0.1;
        }
        bad.pixels[200][0] += 0.1; // a lone speck
        bad.pixels[5 * 16 + 9][0] += VISIBLE_CHANGE * 0.9; // invisible
        let mask = defect_mask(&good, &bad);
        assert_eq!(mask.pixels().filter(|p| p[0] == 255).count(), 4);
        assert_eq!(mask.get_pixel(5, 6)[0], 255);
    }

    #[test]
    fn blur_keeps_the_mean_and_a_flat_picture() {
        let mut picture = Canvas { size: 21, pixels: vec![[0.0; 3]; 441] };
        picture.pixels[220] = [1.0; 3];
        let blurred = blur(&picture, 1.3);
        let sum: f32 = blurred.pixels.iter().map(|p| p[0]).sum();
        assert!((sum - 1.0).abs() < 1e-4, "sum {sum}");
        assert!(blurred.pixels[220][0] < 0.12);
    }
}
