//! Defect shapes that several categories share.
//!
//! In: where, how large and how strong, drawn once per defective part. Out: for a point the strength of the
//! defect there, 0 to 1. The categories decide what it does to their material.

use super::math::{cos_turns, sin_turns, smoothstep};
use super::noise::{Draw, fbm};
use super::shapes::{bead, chain, length};

/// A defect that a picture asks for.
pub(super) struct Defect {
    /// One of the category's defect kinds.
    pub(super) kind: &'static str,
    /// Contrast and size together: 0.1 (hard to see) to 1.
    pub(super) strength: f32,
    /// The defect's own stream.
    pub(super) draw: Draw,
}

impl Defect {
    /// A point in the ring between the radii `from` and `to` about the origin.
    pub(super) fn place(&mut self, from: f32, to: f32) -> (f32, f32) {
        let angle = self.draw.unit();
        let radius = self.draw.range(from * from, to * to).sqrt();
        (radius * cos_turns(angle), radius * sin_turns(angle))
    }
}

/// A wandering line: a scratch, a fibre, a crack.
pub(super) struct Curve {
    points: Vec<(f32, f32)>,
    centre: (f32, f32),
    reach: f32,
}

impl Curve {
    /// A curve of the given `length` that starts in direction `turns` and bends by about `bend` turns a
    /// step, `jag` of it at random from step to step; its middle lies at `centre`.
    pub(super) fn draw(
        draw: &mut Draw,
        centre: (f32, f32),
        turns: f32,
        length: f32,
        bend: f32,
        jag: f32,
    ) -> Self {
        const STEPS: usize = 14;
        let mut points = vec![(0.0_f32, 0.0_f32)];
        let (mut angle, mut curl) = (turns, draw.jitter(bend));
        let (mut x, mut y) = (0.0, 0.0);
        for _ in 0..STEPS {
            let turned = angle + draw.jitter(jag);
            x += cos_turns(turned) * length / STEPS as f32;
            y += sin_turns(turned) * length / STEPS as f32;
            points.push((x, y));
            angle += curl;
            curl = curl * 0.8 + draw.jitter(bend) * 0.4;
        }
        let middle = points[STEPS / 2];
        for point in &mut points {
            *point = (point.0 - middle.0 + centre.0, point.1 - middle.1 + centre.1);
        }
        let reach =
            points.iter().fold(0.0_f32, |r, p| r.max((p.0 - centre.0).abs().max((p.1 - centre.1).abs())));
        Self { points, centre, reach }
    }

    /// 1 on the line, falling to 0 at `half_width`; the line tapers to its ends by `taper` (0 to 1).
    pub(super) fn at(&self, x: f32, y: f32, half_width: f32, taper: f32) -> f32 {
        let margin = self.reach + half_width;
        if (x - self.centre.0).abs() > margin || (y - self.centre.1).abs() > margin {
            return 0.0;
        }
        let (distance, along) = chain(x, y, &self.points);
        let ends = 1.0 - taper * (2.0 * along - 1.0) * (2.0 * along - 1.0);
        bead(distance, (half_width * ends).max(1e-5))
    }
}

/// An irregular patch: a stain, a rust spot, a chip.
pub(super) struct Blotch {
    centre: (f32, f32),
    radius: f32,
    stretch: f32,
    turn: (f32, f32),
    raggedness: f32,
    seed: u32,
}

impl Blotch {
    /// A patch of about `radius`, up to twice as long as wide, with an outline that wanders by the share
    /// `raggedness` of the radius.
    pub(super) fn draw(draw: &mut Draw, centre: (f32, f32), radius: f32, raggedness: f32) -> Self {
        let angle = draw.unit();
        let stretch = draw.range(1.0, 1.45);
        Self {
            centre,
            radius,
            stretch,
            turn: (cos_turns(angle), sin_turns(angle)),
            raggedness,
            seed: draw.seed(),
        }
    }

    /// Signed distance to the outline, roughly; negative inside.
    pub(super) fn distance(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.centre.0, y - self.centre.1);
        let far = length(dx, dy);
        let limit = self.radius * (self.stretch + self.raggedness) * 1.1;
        if far > limit {
            return far - self.radius * self.stretch;
        }
        let (u, v) = (dx * self.turn.0 + dy * self.turn.1, dy * self.turn.0 - dx * self.turn.1);
        let oval = length(u / self.stretch, v * self.stretch);
        let wander = fbm(x * 2.2 / self.radius, y * 2.2 / self.radius, 3, self.seed);
        oval - self.radius * (1.0 + self.raggedness * wander)
    }

    /// 1 well inside, 0 outside; the edge is `softness` of the radius wide.
    pub(super) fn at(&self, x: f32, y: f32, softness: f32) -> f32 {
        let half = (softness * self.radius * 0.5).max(1e-5);
        smoothstep(half, -half, self.distance(x, y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_stay_where_they_are_put() {
        for seed in 0..40 {
            let mut draw = Draw::stream(seed, &[]);
            let blotch = Blotch::draw(&mut draw, (0.2, -0.1), 0.1, 0.3);
            assert_eq!(blotch.at(0.2 + 0.4, -0.1, 0.5), 0.0, "seed {seed}");
            assert!(blotch.at(0.2, -0.1, 0.3) > 0.9, "seed {seed}");
            let curve = Curve::draw(&mut draw, (0.2, -0.1), 0.3, 0.5, 0.03, 0.01);
            assert!(curve.at(0.2, -0.1, 0.01, 1.0) > 0.9, "seed {seed}");
            assert_eq!(curve.at(0.8, -0.1, 0.01, 1.0), 0.0, "seed {seed}");
        }
    }
}
