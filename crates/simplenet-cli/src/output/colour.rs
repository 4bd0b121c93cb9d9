//! The colour scale of the heat maps: one number in 0..=1 to one sRGB colour.
//!
//! The colours are those of *inferno* (Stéfan van der Walt and Nathaniel Smith, matplotlib, released as CC0), whose
//! lightness rises evenly from black through purple, red and orange to pale yellow: a higher score always looks
//! brighter, also in gray print and for colour-blind readers. It is evaluated through a polynomial of degree six per
//! channel, the fit published by Matt Zucker ("colormaps", shadertoy.com/view/WlfXRN, CC0): measured against the
//! original table it is within 3, 4 and 9 grey levels of red, green and blue, 1, 2 and 5 on average.

/// Coefficients of t⁰ to t⁶ for red, green and blue, each in 0..=1.
const INFERNO: [[f64; 3]; 7] = [
    [0.000_218_94, 0.001_651_00, -0.019_480_90],
    [0.106_513_42, 0.563_956_44, 3.932_712_39],
    [11.602_493_08, -3.972_853_97, -15.942_394_11],
    [-41.703_996_13, 17.436_398_88, 44.354_145_20],
    [77.162_935_70, -33.402_358_94, -81.807_309_26],
    [-71.319_428_24, 32.626_064_26, 73.209_519_86],
    [25.131_126_22, -12.242_668_95, -23.070_325_00],
];

/// The colour of `t`: 0 is near black, 1 pale yellow. Values outside 0..=1 are clamped; NaN is black.
pub fn inferno(t: f32) -> [u8; 3] {
    let t = if t.is_nan() { 0.0 } else { f64::from(t).clamp(0.0, 1.0) };
    std::array::from_fn(|channel| {
        let value = INFERNO.iter().rev().fold(0.0, |sum, row| sum * t + row[channel]);
        (value.clamp(0.0, 1.0) * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CIE lightness L* (0 to 100) of an sRGB colour.
    fn lightness(rgb: [u8; 3]) -> f64 {
        let linear = |v: u8| {
            let v = f64::from(v) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        let y = 0.2126 * linear(rgb[0]) + 0.7152 * linear(rgb[1]) + 0.0722 * linear(rgb[2]);
        if y > 0.008_856 { 116.0 * y.cbrt() - 16.0 } else { 903.3 * y }
    }

    #[test]
    fn lightness_rises_all_the_way() {
        let mut last = -1.0;
        for step in 0..=64 {
            let now = lightness(inferno(step as f32 / 64.0));
            assert!(now > last - 0.05, "step {step}: {now} after {last}");
            last = now;
        }
        assert!(lightness(inferno(0.0)) < 2.0);
        assert!(lightness(inferno(1.0)) > 95.0);
    }

    #[test]
    fn matches_the_published_table_at_its_anchors() {
        // Entries 0, 64, 128, 192 and 255 of matplotlib's 256-entry inferno table.
        let anchors = [
            (0, [0, 0, 4]),
            (64, [87, 16, 110]),
            (128, [188, 55, 84]),
            (192, [249, 142, 9]),
            (255, [252, 255, 164]),
        ];
        for (index, expected) in anchors {
            let actual = inferno(index as f32 / 255.0);
            for channel in 0..3 {
                let off = (i32::from(actual[channel]) - expected[channel]).abs();
                assert!(off <= 10, "entry {index}: {actual:?}, published {expected:?}");
            }
        }
    }

    #[test]
    fn stray_values_are_clamped() {
        assert_eq!(inferno(-3.0), inferno(0.0));
        assert_eq!(inferno(7.0), inferno(1.0));
        assert_eq!(inferno(f32::NAN), inferno(0.0));
    }
}
