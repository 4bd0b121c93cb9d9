//! `denim_twill`: a 2/1 twill of dark warp over light weft.
//!
//! In: the part's stream and perhaps a defect. Out: its picture in linear light. Every yarn has its own
//! thickness and shade; the cloth is skewed and stretched a little, and dyed unevenly.

use super::Product;
use super::camera::{CameraStyle, STEADY_CAMERA};
use super::canvas::{Canvas, Light, Pose, Surface, Texel};
use super::defects::{Blotch, Curve, Defect};
use super::math::{cos_turns, mix, mix3, scale3, sin_turns, smoothstep};
use super::noise::{Draw, fbm, lattice, value_noise};
use super::shapes::bead;

pub(super) const PRODUCT: Product = Product {
    name: "denim_twill",
    defects: &["missing_yarn", "misweave", "stain", "hole", "fibre"],
    camera: CameraStyle { gain_spread: 0.10, gradient: 0.09, blur: (0.7, 0.9), ..STEADY_CAMERA },
    paint,
};

/// Yarns across the picture.
const YARNS: f32 = 40.0;

enum Damage {
    None,
    /// The weft yarn of this number is absent between two warp numbers.
    Missing(f32, f32, f32),
    /// In this rectangle of yarns (first, last warp; first, last weft) the weave is inverted.
    Misweave([f32; 4]),
    Stain(Blotch, f32, [f32; 3]),
    Hole(Blotch),
    Fibre(Curve, f32, [f32; 3]),
}

fn paint(size: usize, mut part: Draw, defect: Option<Defect>) -> Canvas {
    let yarns = YARNS * part.range(0.98, 1.02);
    let pose = Pose::new(part.jitter(0.006), 2.0 / yarns, (part.unit() * 0.1, part.unit() * 0.1));
    let skew = part.jitter(0.02);
    let indigo = mix3([0.040, 0.062, 0.135], [0.055, 0.085, 0.165], part.unit());
    let ecru = scale3([0.46, 0.45, 0.42], part.range(0.85, 1.05));
    let (wave, dye, fuzz, spun) = (part.seed(), part.seed(), part.seed(), part.seed());
    let light = Light { azimuth: 0.64 + part.jitter(0.02), steepness: 1.2, ambient: 0.40, shine: 3 };
    let damage = damage(defect, yarns);

    let surface = Surface::new(size, |x, y| {
        let (u0, v0) = pose.to_part(x, y);
        let u = u0 + skew * v0 + 0.5 * fbm(x * 1.7, y * 1.7, 2, wave);
        let v = v0 + 0.5 * fbm(x * 1.7 + 9.0, y * 1.7, 2, wave);
        let (warp, weft) = (u.floor(), v.floor());
        let (du, dv) = (u - warp - 0.5, v - weft - 0.5);
        let missing = matches!(damage, Damage::Missing(row, from, to)
            if weft == row && (from..to).contains(&(warp + 0.3 * lattice(warp as i32, 3, fuzz))));
        let slip = match damage {
            Damage::Misweave([u0, u1, v0, v1]) if (u0..u1).contains(&warp) && (v0..v1).contains(&weft) => 1.0,
            _ => 0.0,
        };
        // Each yarn's own thickness; it varies along the yarn too.
        let (warp_own, weft_own) = (lattice(warp as i32, 0, spun), lattice(weft as i32, 1, spun));
        let warp_slub = value_noise(warp * 7.3, v * 0.12, spun ^ 5);
        let weft_slub = value_noise(u * 0.12, weft * 7.3, spun ^ 6);
        let warp_round = bead(du, 0.54 + 0.06 * (warp_own - 0.5) + 0.05 * warp_slub);
        let weft_round = bead(dv, 0.50 + 0.06 * (weft_own - 0.5) + 0.05 * weft_slub);
        // Over two, under one: the warp dives where the weft shows, a third of a period later on each yarn.
        let warp_wave = 0.35 - cos_turns((v - 0.5 + warp + slip - 2.0) / 3.0);
        let weft_wave = cos_turns((u - 0.5 + weft + slip - 2.0) / 3.0) - 0.35;
        let warp_height = 0.75 * warp_round + 0.55 * warp_wave;
        let weft_height = if missing { -0.6 } else { 0.75 * weft_round + 0.55 * weft_wave };
        let weft_share = smoothstep(-0.10, 0.10, weft_height - warp_height);
        // Twisted fibres: oblique stripes on the yarn, and fuzz along it.
        let twist = |across: f32, run: f32, own: f32| {
            0.6 * sin_turns(across * 1.1 + run * 1.3 + own)
                + value_noise(across * 6.0 + 31.0 * own, run * 1.7 + across * 3.0, fuzz)
        };
        let (own, slub, twist) = if weft_share > 0.5 {
            (weft_own, weft_slub, twist(dv, u, weft_own))
        } else {
            (warp_own, warp_slub, twist(du, v, warp_own))
        };
        let uneven =
            1.0 + 0.32 * (own - 0.5) + 0.20 * twist + 0.14 * fbm(x * 2.5, y * 2.5, 3, dye) + 0.15 * slub;
        let height = mix(warp_height, weft_height, weft_share);
        let mut cloth = Texel {
            albedo: scale3(mix3(indigo, ecru, weft_share), uneven.max(0.1)),
            height: 0.016 * height + 0.0012 * twist,
            gloss: 0.012,
            shade: mix(0.22, 1.0, smoothstep(-0.35, 0.85, height)),
        };
        if missing {
            // Nothing carries the warp here: it sinks into a dark line.
            cloth.shade *= mix(0.62, 1.0, smoothstep(0.25, 0.5, dv.abs()));
            cloth.height -= 0.006;
        }
        apply(&damage, x, y, &mut cloth, fuzz);
        cloth
    });
    surface.light(light)
}

fn damage(defect: Option<Defect>, yarns: f32) -> Damage {
    let Some(mut defect) = defect else { return Damage::None };
    let s = defect.strength;
    let draw = &mut defect.draw;
    let at = (draw.jitter(0.72), draw.jitter(0.72));
    let (warp, weft) = ((at.0 * yarns / 2.0).floor(), (at.1 * yarns / 2.0).floor());
    match defect.kind {
        "missing_yarn" => {
            let half = mix(1.5, 9.0, s);
            Damage::Missing(weft, warp - half, warp + half)
        }
        "misweave" => {
            let (wide, high) = (mix(2.0, 7.0, s).floor(), 1.0 + draw.index(3) as f32 + (s * 2.0).floor());
            Damage::Misweave([warp, warp + wide, weft, weft + high])
        }
        "stain" => {
            let colour = if draw.unit() < 0.5 { [0.14, 0.10, 0.05] } else { [0.012, 0.012, 0.014] };
            Damage::Stain(Blotch::draw(draw, at, mix(0.09, 0.24, s), 0.45), mix(0.45, 1.0, s), colour)
        }
        "hole" => Damage::Hole(Blotch::draw(draw, at, mix(0.028, 0.085, s), 0.35)),
        _ => {
            let colours = [[0.55, 0.10, 0.08], [0.62, 0.60, 0.56], [0.60, 0.42, 0.10]];
            let colour = colours[draw.index(3)];
            let turns = draw.unit();
            let curve = Curve::draw(draw, at, turns, mix(0.18, 0.7, s), 0.07, 0.015);
            Damage::Fibre(curve, mix(0.008, 0.016, s), colour)
        }
    }
}

fn apply(damage: &Damage, x: f32, y: f32, cloth: &mut Texel, seed: u32) {
    match damage {
        Damage::None | Damage::Missing(..) | Damage::Misweave(_) => {}
        Damage::Stain(patch, contrast, colour) => {
            let soak = patch.at(x, y, 0.7) * contrast;
            // A liquid tints the yarns and leaves their relief; its rim dries darker.
            let rim = bead(patch.distance(x, y), 0.03) * contrast * 0.3;
            cloth.coat(scale3(*colour, 0.55 + cloth.albedo[1] * 1.2), 0.05, soak);
            cloth.albedo = scale3(cloth.albedo, 1.0 - rim);
        }
        Damage::Hole(patch) => {
            let distance = patch.distance(x, y) + 0.012 * value_noise(x * 60.0, y * 60.0, seed);
            let open = smoothstep(0.008, -0.008, distance);
            let frayed = smoothstep(0.045, 0.0, distance) * (1.0 - open);
            cloth.coat([0.40, 0.39, 0.37], 0.0, 0.45 * frayed);
            cloth.coat([0.012, 0.011, 0.011], 0.0, open);
            cloth.shade = mix(cloth.shade, 0.6, open);
            cloth.height = mix(cloth.height, -0.02, open);
        }
        Damage::Fibre(curve, half_width, colour) => {
            let line = curve.at(x, y, *half_width, 0.1);
            cloth.coat(*colour, 0.05, (2.0 * line).min(1.0));
            cloth.shade = mix(cloth.shade, 1.0, (2.0 * line).min(1.0));
            cloth.height += 0.014 * line;
        }
    }
}
