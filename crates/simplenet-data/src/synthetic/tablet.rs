//! `coated_tablet`: an oblong film-coated tablet with a score line and an imprint, in any rotation.
//!
//! In: the part's stream and perhaps a defect. Out: its picture in linear light. Between good parts the
//! coat's shade, the speckles of the core, the depth of the imprint and the fill of the belt vary.

use super::Product;
use super::camera::{CameraStyle, STEADY_CAMERA, grey};
use super::canvas::{Canvas, Light, Pose, Surface, Texel};
use super::defects::{Blotch, Curve, Defect};
use super::math::{cos_turns, mix, mix3, smoothstep};
use super::noise::{Draw, fbm, value_noise};
use super::shapes::{bead, cover, nearest, rounded_box, text_segments};

pub(super) const PRODUCT: Product = Product {
    name: "coated_tablet",
    defects: &["chip", "crack", "contamination", "discoloration", "faulty_imprint"],
    camera: CameraStyle { gain_spread: 0.07, blur: (0.6, 0.85), ..STEADY_CAMERA },
    paint,
};

const HALF_LENGTH: f32 = 0.70;
const HALF_WIDTH: f32 = 0.33;
const DOME: f32 = 0.26;
const STROKE: f32 = 0.020;

enum Damage {
    None,
    Chip(Blotch, f32),
    Crack(Curve, f32, f32),
    Specks(Vec<Blotch>, Option<Curve>, f32),
    Colour(Blotch, f32, [f32; 3]),
    /// Part of the imprint is filled with coat.
    Filled(Blotch, f32),
}

fn paint(size: usize, mut part: Draw, defect: Option<Defect>) -> Canvas {
    let pose = Pose::new(part.unit(), part.range(0.97, 1.03), (part.jitter(0.06), part.jitter(0.06)));
    let coat = mix3([0.66, 0.50, 0.36], [0.72, 0.60, 0.42], part.unit());
    let (depth, speckle) = (part.range(0.010, 0.015), part.range(0.52, 0.62));
    let (grain, belt, dust) = (part.seed(), part.seed(), part.seed());
    let belt_turn = Pose::new(part.jitter(0.004), 1.0, (part.jitter(0.05), part.jitter(0.05)));
    let belt_level = part.range(0.040, 0.055);
    let light = Light { azimuth: 0.60 + part.jitter(0.02), steepness: 1.5, ambient: 0.38, shine: 5 };
    let damage = damage(defect);
    let mut imprint: Vec<[(f32, f32); 2]> = Vec::new();
    for (text, centre) in [("SN", -0.33_f32), ("50", 0.33)] {
        imprint.extend(text_segments(text, 0.25).iter().map(|s| s.map(|(x, y)| (x + centre, y))));
    }

    let mut surface = Surface::new(size, |x, y| {
        let (u, v) = belt_turn.to_part(x, y);
        let weave = cos_turns(u * 11.0) * cos_turns(v * 11.0);
        let level = belt_level
            * (1.0 + 0.22 * fbm(x * 3.0, y * 3.0, 3, belt) + 0.07 * value_noise(x * 80.0, y * 80.0, belt));
        Texel {
            height: 0.008 * weave,
            gloss: 0.02,
            ..Texel::matt([level * 0.62, level * 0.95, level * 1.12])
        }
    });
    let pixel = surface.pixel();
    let offset = (-0.07 * cos_turns(light.azimuth), -0.07 * cos_turns(light.azimuth - 0.25));
    let (px, py) = pose.to_picture(0.0, 0.0);
    let shadow = Pose::new(0.0, 1.0, (px + offset.0, py + offset.1));
    surface.stamp(shadow, 1.0, |x, y, texel| {
        let (u, v) = pose.to_part(x + px, y + py);
        let distance = rounded_box(u, v, HALF_LENGTH, HALF_WIDTH, HALF_WIDTH);
        texel.shade *= 1.0 - 0.72 * smoothstep(0.10, -0.08, distance);
    });

    surface.stamp(pose, HALF_LENGTH + 0.05, |x, y, texel| {
        let outline = rounded_box(x, y, HALF_LENGTH, HALF_WIDTH, HALF_WIDTH);
        let mut inside = cover(outline, pixel);
        if inside == 0.0 {
            return;
        }
        let rise = 1.0 - (-outline / DOME).clamp(0.0, 1.0);
        let mut stroke = bead(nearest(x, y, &imprint), STROKE);
        let score = bead(x.abs(), 0.030) * smoothstep(0.0, 0.05, -outline);
        let spots = smoothstep(speckle, speckle + 0.12, value_noise(x * 34.0, y * 34.0, dust));
        if let Damage::Filled(patch, share) = &damage {
            stroke *= 1.0 - share * patch.at(x, y, 0.4);
        }
        let mut pill = Texel {
            albedo: mix3(coat, [0.40, 0.24, 0.13], 0.30 * spots),
            height: 0.17 * (1.0 - rise * rise) - depth * stroke - 1.4 * depth * score
                + 0.0012 * fbm(x * 22.0, y * 22.0, 3, grain),
            gloss: 0.20,
            shade: 1.0 - 0.16 * stroke - 0.2 * score - 0.25 * smoothstep(0.75, 1.0, rise),
        };
        apply(&damage, x, y, &mut pill, &mut inside);
        texel.coat(pill.albedo, pill.gloss, inside);
        texel.height = mix(texel.height, pill.height, inside);
        texel.shade = mix(texel.shade, pill.shade, inside);
    });
    surface.light(light)
}

fn damage(defect: Option<Defect>) -> Damage {
    let Some(mut defect) = defect else { return Damage::None };
    let s = defect.strength;
    let (along, across) = (defect.draw.jitter(0.5), defect.draw.jitter(0.17));
    let draw = &mut defect.draw;
    match defect.kind {
        "chip" => {
            // On the long edge or on an end.
            let side = draw.sign();
            let at = if draw.unit() < 0.6 { (along * 0.7, side * 0.33) } else { (side * 0.69, across) };
            Damage::Chip(Blotch::draw(draw, at, mix(0.07, 0.20, s), 0.45), s)
        }
        "crack" => {
            let turns = 0.25 + draw.jitter(0.13);
            let curve = Curve::draw(draw, (along, across * 0.5), turns, mix(0.28, 0.7, s), 0.02, 0.07);
            Damage::Crack(curve, mix(0.014, 0.026, s), mix(0.5, 1.0, s))
        }
        "contamination" => {
            let mut specks = Vec::new();
            for _ in 0..1 + draw.index(3) {
                let at = (along + draw.jitter(0.09), across + draw.jitter(0.07));
                let radius = mix(0.018, 0.050, s) * draw.range(0.7, 1.2);
                specks.push(Blotch::draw(draw, at, radius, 0.5));
            }
            let turns = draw.unit();
            let hair = (draw.unit() < 0.35)
                .then(|| Curve::draw(draw, (along, across), turns, mix(0.2, 0.5, s), 0.05, 0.01));
            Damage::Specks(specks, hair, mix(0.4, 0.95, s))
        }
        "discoloration" => {
            let colour = if draw.unit() < 0.5 { [0.50, 0.30, 0.15] } else { [0.60, 0.56, 0.52] };
            Damage::Colour(
                Blotch::draw(draw, (along, across), mix(0.09, 0.26, s), 0.5),
                mix(0.26, 0.85, s),
                colour,
            )
        }
        _ => {
            let side = draw.sign();
            let at = (side * 0.33 + draw.jitter(0.12), draw.jitter(0.05));
            Damage::Filled(Blotch::draw(draw, at, mix(0.12, 0.28, s), 0.3), mix(0.7, 1.0, s))
        }
    }
}

fn apply(damage: &Damage, x: f32, y: f32, pill: &mut Texel, inside: &mut f32) {
    match damage {
        Damage::None | Damage::Filled(..) => {}
        Damage::Chip(patch, strength) => {
            // The broken face shows the white, rough core; a deep chip takes the edge with it.
            let broken = patch.at(x, y, 0.25);
            let depth = (-patch.distance(x, y)).max(0.0);
            pill.coat(grey(0.84, 0.6), 0.0, broken);
            pill.height -= depth.min(0.08) * 0.9 - 0.003 * broken * fbm(x * 24.0, y * 24.0, 3, 5);
            let gone = smoothstep(0.25, 0.45, depth) + smoothstep(0.35, 0.6, depth / 0.12) * strength;
            *inside *= 1.0 - gone.min(1.0);
        }
        Damage::Crack(curve, half_width, contrast) => {
            let line = curve.at(x, y, *half_width, 0.85) * contrast;
            pill.height -= 0.010 * line;
            pill.coat([0.10, 0.06, 0.04], 0.0, (1.4 * line).min(1.0));
        }
        Damage::Specks(specks, hair, contrast) => {
            let dark = specks.iter().fold(0.0_f32, |most, speck| most.max(speck.at(x, y, 0.5)));
            pill.coat([0.05, 0.045, 0.05], 0.05, dark * contrast);
            if let Some(hair) = hair {
                let line = hair.at(x, y, 0.009, 0.1);
                pill.coat([0.06, 0.05, 0.06], 0.1, (1.6 * line).min(1.0) * contrast);
                pill.height += 0.006 * line;
            }
        }
        Damage::Colour(patch, contrast, colour) => {
            pill.coat(*colour, 0.12, patch.at(x, y, 1.1) * contrast);
        }
    }
}
