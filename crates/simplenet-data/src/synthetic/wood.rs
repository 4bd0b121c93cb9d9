//! `oak_plank`: a planed and varnished board with its grain across the picture.
//!
//! In: the part's stream and perhaps a defect. Out: its picture in linear light. Each board is cut from
//! another place of another trunk: ring width, bow of the rings, colour and pores differ.

use super::Product;
use super::camera::{CameraStyle, STEADY_CAMERA};
use super::canvas::{Canvas, Light, Pose, Surface, Texel};
use super::defects::{Blotch, Curve, Defect};
use super::math::{mix, mix3, scale3, smoothstep};
use super::noise::{Draw, fbm, lattice, value_noise};
use super::shapes::bead;

pub(super) const PRODUCT: Product = Product {
    name: "oak_plank",
    defects: &["scratch", "worm_hole", "crack", "stain", "dent"],
    camera: CameraStyle { gain_spread: 0.08, gradient: 0.07, ..STEADY_CAMERA },
    paint,
};

enum Damage {
    None,
    Scratch(Curve, f32, f32),
    Holes(Vec<Blotch>),
    Crack(Curve, f32, f32),
    Stain(Blotch, f32, [f32; 3]),
    Dent(Blotch, f32),
}

fn paint(size: usize, mut part: Draw, defect: Option<Defect>) -> Canvas {
    let pose = Pose::new(part.jitter(0.008), 1.0, (0.0, 0.0));
    let rings = part.range(9.0, 15.0);
    // The board's distance from the pith, and where along it the rings bow.
    let (pith, crest, bow) = (part.range(-1.8, 1.8), part.jitter(1.2), part.range(0.10, 0.30));
    let early = mix3([0.50, 0.29, 0.13], [0.58, 0.37, 0.18], part.unit());
    let late = mix3([0.25, 0.115, 0.042], [0.33, 0.165, 0.068], part.unit());
    let varnish = part.range(0.08, 0.18);
    let (warp, pore, tone, ray) = (part.seed(), part.seed(), part.seed(), part.seed());
    let light = Light { azimuth: 0.63 + part.jitter(0.02), steepness: 1.4, ambient: 0.42, shine: 6 };
    let damage = damage(defect);

    let surface = Surface::new(size, |x, y| {
        let (u, v) = pose.to_part(x, y);
        let sway = 0.10 * fbm(u * 0.9, v * 1.4, 2, warp) + 0.018 * fbm(u * 2.4, v * 9.0, 2, warp ^ 9);
        let (along, from_pith) = (bow * (u - crest), v + sway - pith);
        let radius = (from_pith * from_pith + along * along).sqrt();
        let year = radius * rings + 0.35 * fbm(u * 0.5, v * 5.0, 2, warp ^ 3);
        let season = year - year.floor();
        // Early wood darkens slowly into late wood, then the next year starts abruptly.
        let dark = smoothstep(0.05, 0.85, season) * smoothstep(1.0, 0.90, season);
        let streak = fbm(u * 2.2, v * 48.0, 3, ray);
        // Pores: short dark dashes along the grain, most in early wood.
        let vessel =
            value_noise(u * 11.0 + 6.0 * lattice((v * 120.0).floor() as i32, 0, pore), v * 120.0, pore);
        let open = smoothstep(0.30, 0.62, vessel) * mix(1.0, 0.30, dark);
        let cloudy = 1.0 + 0.07 * fbm(u * 0.8, v * 1.6, 2, tone) + 0.20 * streak;
        let mut wood = Texel {
            albedo: scale3(mix3(mix3(early, late, 0.95 * dark), [0.13, 0.065, 0.03], 0.60 * open), cloudy),
            height: -0.004 * open + 0.0012 * streak,
            gloss: varnish,
            shade: 1.0,
        };
        apply(&damage, u, v, &mut wood);
        wood
    });
    surface.light(light)
}

fn damage(defect: Option<Defect>) -> Damage {
    let Some(mut defect) = defect else { return Damage::None };
    let s = defect.strength;
    let draw = &mut defect.draw;
    let at = (draw.jitter(0.72), draw.jitter(0.72));
    match defect.kind {
        "scratch" => {
            // Across the grain more often than along it, where it hides.
            let turns = 0.25 + draw.jitter(0.19);
            let curve = Curve::draw(draw, at, turns, mix(0.3, 1.0, s), 0.008, 0.006);
            Damage::Scratch(curve, mix(0.009, 0.021, s), mix(0.45, 1.0, s))
        }
        "worm_hole" => {
            let mut holes = Vec::new();
            for _ in 0..1 + draw.index(4) {
                let place = (at.0 + draw.jitter(0.16), at.1 + draw.jitter(0.16));
                let radius = mix(0.016, 0.042, s) * draw.range(0.75, 1.15);
                holes.push(Blotch::draw(draw, place, radius, 0.18));
            }
            Damage::Holes(holes)
        }
        "crack" => {
            let turns = draw.jitter(0.02);
            let curve = Curve::draw(draw, at, turns, mix(0.3, 1.1, s), 0.004, 0.035);
            Damage::Crack(curve, mix(0.012, 0.032, s), mix(0.7, 1.0, s))
        }
        "stain" => {
            let colour = if draw.unit() < 0.6 { [0.10, 0.065, 0.045] } else { [0.62, 0.56, 0.48] };
            Damage::Stain(Blotch::draw(draw, at, mix(0.10, 0.26, s), 0.35), mix(0.32, 0.9, s), colour)
        }
        _ => Damage::Dent(Blotch::draw(draw, at, mix(0.05, 0.14, s), 0.2), mix(0.014, 0.045, s)),
    }
}

fn apply(damage: &Damage, x: f32, y: f32, wood: &mut Texel) {
    match damage {
        Damage::None => {}
        Damage::Scratch(curve, half_width, contrast) => {
            let line = curve.at(x, y, *half_width, 0.7) * contrast;
            wood.coat([0.80, 0.64, 0.44], 0.0, 0.9 * line);
            wood.height -= 0.005 * line;
        }
        Damage::Holes(holes) => {
            for hole in holes {
                let open = hole.at(x, y, 0.35);
                wood.coat([0.018, 0.011, 0.007], 0.0, open);
                wood.height -= 0.02 * open;
                wood.albedo = scale3(wood.albedo, 1.0 - 0.35 * bead(hole.distance(x, y), 0.02));
            }
        }
        Damage::Crack(curve, half_width, contrast) => {
            let line = curve.at(x, y, *half_width, 0.95) * contrast;
            wood.coat([0.03, 0.017, 0.009], 0.0, (1.5 * line).min(1.0));
            wood.height -= 0.010 * line;
        }
        Damage::Stain(patch, contrast, colour) => {
            let soak = patch.at(x, y, 0.55);
            let rim = bead(patch.distance(x, y), 0.022);
            wood.albedo = mix3(wood.albedo, mix3(*colour, wood.albedo, 0.3), contrast * soak);
            wood.albedo = scale3(wood.albedo, 1.0 - 0.3 * contrast * rim);
        }
        Damage::Dent(patch, depth) => {
            let inside = (-patch.distance(x, y)).max(0.0);
            let bowl = smoothstep(0.0, 1.6 * depth, inside) * depth;
            wood.height -= bowl;
            wood.albedo = scale3(wood.albedo, 1.0 - 0.10 * bowl / depth);
        }
    }
}
