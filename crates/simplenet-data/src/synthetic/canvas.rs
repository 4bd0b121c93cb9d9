//! The float picture, and the surface that is lit to make one.
//!
//! In: what each point of a part is made of ([`Texel`]: colour, height, gloss). Out: a [`Canvas`] of linear
//! light, shaded from the heights' slopes (diffuse and Blinn's specular lobe, one lamp and ambient light).
//! Coordinates: the picture spans `[-1, 1]` both ways, x right, y down; heights use the same unit. So a part
//! looks the same at every picture size.

use super::math::{cos_turns, mix, mix3, pow2n, sin_turns};

/// A square RGB picture of floats; linear light until the camera has seen it.
#[derive(Clone)]
pub(super) struct Canvas {
    pub(super) size: usize,
    pub(super) pixels: Vec<[f32; 3]>,
}

/// What one point of a part is made of.
#[derive(Clone, Copy)]
pub(super) struct Texel {
    /// Diffuse reflectance, linear, 0 to 1.
    pub(super) albedo: [f32; 3],
    /// Height towards the camera.
    pub(super) height: f32,
    /// Strength of the specular lobe.
    pub(super) gloss: f32,
    /// What arrives of the light: below 1 in shadows, above 1 where the material itself throws highlights.
    pub(super) shade: f32,
}

impl Texel {
    /// A matt point at height 0.
    pub(super) fn matt(albedo: [f32; 3]) -> Self {
        Self { albedo, height: 0.0, gloss: 0.0, shade: 1.0 }
    }

    /// Covers the point with another material; `cover` in `[0, 1]`; height and shade stay.
    pub(super) fn coat(&mut self, albedo: [f32; 3], gloss: f32, cover: f32) {
        self.albedo = mix3(self.albedo, albedo, cover);
        self.gloss = mix(self.gloss, gloss, cover);
    }
}

/// The lamp and the ambient light.
#[derive(Clone, Copy)]
pub(super) struct Light {
    /// Direction that the light comes from, in turns, 0 = from the right, 0.25 = from below.
    pub(super) azimuth: f32,
    /// Tangent of the elevation: 1 = 45 degrees, more = steeper.
    pub(super) steepness: f32,
    pub(super) ambient: f32,
    /// The specular exponent is `2^shine`.
    pub(super) shine: u32,
}

/// Where a part lies: a rotation, a scale and a shift from part to picture coordinates.
#[derive(Clone, Copy)]
pub(super) struct Pose {
    cos: f32,
    sin: f32,
    scale: f32,
    shift: (f32, f32),
}

impl Pose {
    /// `turns` of rotation about the part's origin, which is put at `shift`.
    pub(super) fn new(turns: f32, scale: f32, shift: (f32, f32)) -> Self {
        Self { cos: cos_turns(turns), sin: sin_turns(turns), scale, shift }
    }

    /// Picture point to part point.
    pub(super) fn to_part(self, x: f32, y: f32) -> (f32, f32) {
        let (dx, dy) = ((x - self.shift.0) / self.scale, (y - self.shift.1) / self.scale);
        (dx * self.cos + dy * self.sin, dy * self.cos - dx * self.sin)
    }

    /// Part point to picture point.
    pub(super) fn to_picture(self, x: f32, y: f32) -> (f32, f32) {
        let (dx, dy) = (x * self.cos - y * self.sin, x * self.sin + y * self.cos);
        (dx * self.scale + self.shift.0, dy * self.scale + self.shift.1)
    }

    /// The pose of a sub-part that is turned and shifted within this part.
    pub(super) fn child(self, turns: f32, at: (f32, f32)) -> Self {
        let (cos, sin) = (cos_turns(turns), sin_turns(turns));
        Self {
            cos: self.cos * cos - self.sin * sin,
            sin: self.sin * cos + self.cos * sin,
            scale: self.scale,
            shift: self.to_picture(at.0, at.1),
        }
    }
}

/// A grid of [`Texel`]s, drawn on from the bottom layer up, then lit.
pub(super) struct Surface {
    size: usize,
    texels: Vec<Texel>,
}

impl Surface {
    /// Fills every point; `paint` gets picture coordinates.
    pub(super) fn new(size: usize, mut paint: impl FnMut(f32, f32) -> Texel) -> Self {
        let mut texels = Vec::with_capacity(size * size);
        for row in 0..size {
            for column in 0..size {
                texels.push(paint(coordinate(column, size), coordinate(row, size)));
            }
        }
        Self { size, texels }
    }

    /// Width of a pixel in picture coordinates.
    pub(super) fn pixel(&self) -> f32 {
        2.0 / self.size as f32
    }

    /// Draws on the points within `radius` of the pose's origin; `paint` gets part coordinates.
    pub(super) fn stamp(&mut self, pose: Pose, radius: f32, mut paint: impl FnMut(f32, f32, &mut Texel)) {
        let reach = radius * pose.scale + self.pixel();
        let size = self.size;
        let bounds = |centre: f32| {
            let low = ((centre - reach + 1.0) * 0.5 * size as f32).floor().max(0.0) as usize;
            let high = ((centre + reach + 1.0) * 0.5 * size as f32).ceil().max(0.0) as usize;
            low.min(size)..high.min(size)
        };
        for row in bounds(pose.shift.1) {
            for column in bounds(pose.shift.0) {
                let (x, y) = pose.to_part(coordinate(column, size), coordinate(row, size));
                paint(x, y, &mut self.texels[row * size + column]);
            }
        }
    }

    /// Lights the surface.
    pub(super) fn light(&self, light: Light) -> Canvas {
        let size = self.size;
        let lamp = normalise([cos_turns(light.azimuth), sin_turns(light.azimuth), light.steepness]);
        let half = normalise([lamp[0], lamp[1], lamp[2] + 1.0]);
        // Slopes from central differences; at the rim the difference is one-sided.
        let slope = |low: usize, high: usize, steps: usize| {
            (self.texels[high].height - self.texels[low].height) / (self.pixel() * steps.max(1) as f32)
        };
        let mut pixels = Vec::with_capacity(size * size);
        for row in 0..size {
            let (up, down) = (row.saturating_sub(1), (row + 1).min(size - 1));
            for column in 0..size {
                let (left, right) = (column.saturating_sub(1), (column + 1).min(size - 1));
                let dx = slope(row * size + left, row * size + right, right - left);
                let dy = slope(up * size + column, down * size + column, down - up);
                let normal = normalise([-dx, -dy, 1.0]);
                let texel = self.texels[row * size + column];
                // Divided by the flat surface's share, so that flat and unshaded means albedo.
                let diffuse = dot(normal, lamp).max(0.0) / lamp[2];
                let specular = texel.gloss * pow2n(dot(normal, half).max(0.0), light.shine);
                let lit = (light.ambient + (1.0 - light.ambient) * diffuse) * texel.shade;
                let highlight = specular * texel.shade.min(1.0);
                pixels.push(texel.albedo.map(|channel| channel * lit + highlight));
            }
        }
        Canvas { size, pixels }
    }
}

/// Centre of pixel `index` in picture coordinates.
pub(super) fn coordinate(index: usize, size: usize) -> f32 {
    (index as f32 + 0.5) * 2.0 / size as f32 - 1.0
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn normalise(v: [f32; 3]) -> [f32; 3] {
    let length = dot(v, v).sqrt();
    [v[0] / length, v[1] / length, v[2] / length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pose_and_its_inverse_cancel() {
        let pose = Pose::new(0.17, 0.8, (0.1, -0.3)).child(0.3, (0.2, 0.1));
        let (x, y) = pose.to_picture(0.4, -0.2);
        let (u, v) = pose.to_part(x, y);
        assert!((u - 0.4).abs() < 1e-5 && (v + 0.2).abs() < 1e-5, "{u} {v}");
    }

    #[test]
    fn a_flat_matt_surface_shows_its_albedo_and_slopes_face_the_lamp() {
        let light = Light { azimuth: 0.0, steepness: 1.0, ambient: 0.3, shine: 5 };
        let flat = Surface::new(8, |_, _| Texel::matt([0.2, 0.4, 0.6])).light(light);
        assert!(flat.pixels.iter().all(|p| (p[1] - 0.4).abs() < 1e-6));
        let facing = |tilt: f32| {
            let surface = Surface::new(8, |x, _| Texel { height: tilt * x, ..Texel::matt([0.5; 3]) });
            surface.light(light).pixels[27][0]
        };
        assert!(facing(-0.2) > 0.5 && facing(0.2) < 0.5);
    }
}
