//! `steel_gear`: a turned spur gear on a dark tray, in any rotation.
//!
//! In: the part's stream and perhaps a defect. Out: its picture in linear light. Turned faces throw the two
//! bright wedges that lathe grooves throw; they stay with the lamp while the gear turns.

use super::Product;
use super::camera::{CameraStyle, STEADY_CAMERA, grey};
use super::canvas::{Canvas, Light, Pose, Surface, Texel};
use super::defects::{Blotch, Curve, Defect};
use super::math::{atan2_turns, cos_turns, mix, mix3, pow2n, smoothstep};
use super::noise::{Draw, fbm, value_noise};
use super::shapes::{bead, cover, length, rounded_box};

pub(super) const PRODUCT: Product = Product {
    name: "steel_gear",
    defects: &["broken_tooth", "bent_tooth", "rust", "scratch", "dent"],
    camera: CameraStyle { gain_spread: 0.10, ..STEADY_CAMERA },
    paint,
};

const TEETH: f32 = 20.0;
const TIP: f32 = 0.80;
const ROOT: f32 = 0.68;
const RIM: f32 = 0.58;
const HUB: f32 = 0.30;
const BORE: f32 = 0.17;
/// The five lightening holes: their distance from the centre and their radius.
const HOLES: (f32, f32) = (0.44, 0.085);
const CHAMFER: f32 = 0.016;

/// What a defect does to the outline of one tooth.
#[derive(Default)]
struct ToothDamage {
    tooth: f32,
    /// How far the tip leans to the side, and how much of it has broken off.
    lean: f32,
    loss: f32,
    seed: u32,
}

enum FaceDamage {
    None,
    Rust(Blotch, f32),
    Scratch(Curve, f32, f32),
    Dent(Blotch, f32),
}

fn paint(size: usize, mut part: Draw, defect: Option<Defect>) -> Canvas {
    let pose = Pose::new(part.unit(), part.range(0.97, 1.03), (part.jitter(0.05), part.jitter(0.05)));
    let steel = grey(part.range(0.36, 0.46), part.range(0.0, 0.25));
    let polish = part.range(0.75, 1.25);
    let groove_pitch = part.range(90.0, 130.0);
    let (grooves, cast, tray) = (part.seed(), part.seed(), part.seed());
    let light = Light { azimuth: 0.62 + part.jitter(0.015), steepness: 1.1, ambient: 0.45, shine: 4 };
    let (tooth, face) = damage(defect);

    let mut surface = Surface::new(size, |x, y| {
        let cloth =
            0.022 + 0.006 * fbm(x * 9.0, y * 9.0, 3, tray) + 0.0015 * value_noise(x * 90.0, y * 90.0, tray);
        Texel::matt(grey(cloth, -0.6))
    });
    let pixel = surface.pixel();
    let (shadow_x, shadow_y) = (-0.05 * cos_turns(light.azimuth), -0.05 * cos_turns(light.azimuth - 0.25));
    let shadow_pose = Pose::new(0.0, 1.0, pose.to_picture(0.0, 0.0)).child(0.0, (shadow_x, shadow_y));
    surface.stamp(shadow_pose, 0.95, |x, y, texel| {
        texel.shade *= 1.0 - 0.8 * smoothstep(0.09, -0.04, length(x, y) - 0.5 * (TIP + ROOT));
    });

    let straight = Pose::new(0.0, 1.0, pose.to_picture(0.0, 0.0));
    surface.stamp(pose, TIP + 0.08, |x, y, texel| {
        let outline = outline(x, y, &tooth);
        let inside = cover(outline, pixel);
        if inside == 0.0 {
            return;
        }
        let r = length(x, y);
        // The grooves follow the part; the wedges of light follow the lamp.
        let (px, py) = pose.to_picture(x, y);
        let (sx, sy) = straight.to_part(px, py);
        let angle = atan2_turns(sy, sx);
        let wedge = pow2n(cos_turns(angle - light.azimuth).abs(), 3);
        let second = pow2n(cos_turns(angle - light.azimuth - 0.19).abs(), 4);
        // A bent tooth leans out of the face's plane as well, so that it catches more or less of the lamp.
        let tilt = if tooth_number(x, y) == tooth.tooth {
            smoothstep(ROOT - 0.02, ROOT + 0.04, r) * tooth.lean
        } else {
            0.0
        };
        let groove = value_noise(r * groove_pitch, 0.5 + 0.3 * r, grooves)
            + 0.5 * value_noise(r * 37.0, atan2_turns(y, x).abs() * 3.0, grooves ^ 1);
        let turned = (0.55 + polish * (1.05 * wedge + 0.4 * second) + 0.12 * groove + 5.0 * tilt).max(0.3);

        let web = smoothstep(RIM, RIM - 0.02, r) * smoothstep(HUB, HUB + 0.02, r);
        let grain = fbm(x * 26.0, y * 26.0, 3, cast);
        let rough = 0.62 + 0.10 * grain + 0.05 * fbm(x * 4.0, y * 4.0, 2, cast);
        let edge = CHAMFER - (outline + CHAMFER).clamp(0.0, CHAMFER);
        let mut metal = Texel {
            albedo: mix3(steel, [0.20, 0.20, 0.205], web),
            height: edge - 0.03 * web + 0.0015 * web * grain,
            gloss: mix(0.30, 0.06, web),
            shade: mix(turned, rough, web),
        };
        // The foot of the walls around the web lies in shadow.
        let depth = (r - HUB).min(RIM - r);
        metal.shade *= 1.0 - 0.35 * web * smoothstep(0.06, 0.0, depth);
        apply(&face, x, y, &mut metal);
        texel.coat(metal.albedo, metal.gloss, inside);
        texel.height = metal.height * inside;
        texel.shade = mix(texel.shade, metal.shade, inside);
    });
    surface.light(light)
}

/// Signed distance to the gear's outline, bore and holes included.
fn outline(x: f32, y: f32, damage: &ToothDamage) -> f32 {
    let r = length(x, y);
    let turn = atan2_turns(y, x) * TEETH;
    let tooth = tooth_number(x, y);
    let hit = tooth == damage.tooth && (damage.lean != 0.0 || damage.loss != 0.0);
    let rise = ((r - ROOT) / (TIP - ROOT)).clamp(-0.5, 1.2);
    let mut aside = (turn - tooth) * std::f32::consts::TAU * r / TEETH;
    let mut tip = TIP;
    if hit {
        aside -= damage.lean * rise.max(0.0);
        tip -= damage.loss * (TIP - ROOT) * (1.0 + 0.35 * value_noise(aside * 60.0, 0.5, damage.seed));
    }
    let half_width = mix(0.068, 0.032, rise.max(0.0)) - 0.006 * (rise * (1.0 - rise)).max(0.0);
    let flank = (aside.abs() - half_width).max(r - tip) * 0.95;
    let body = smooth_min(r - ROOT, flank.max(ROOT - 0.1 - r), 0.02);

    let bore = (r - BORE).min(rounded_box(x - BORE, y, 0.045, 0.035, 0.006));
    let sector = (atan2_turns(y, x) * 5.0 + 0.5).floor() / 5.0;
    let (c, s) = (cos_turns(sector), cos_turns(sector - 0.25));
    let hole = length(x * c + y * s - HOLES.0, y * c - x * s) - HOLES.1;
    body.max(-bore).max(-hole)
}

/// Number of the tooth in whose sector a point lies, counted from the keyway's side.
fn tooth_number(x: f32, y: f32) -> f32 {
    (atan2_turns(y, x) * TEETH + 0.5).floor()
}

fn smooth_min(a: f32, b: f32, radius: f32) -> f32 {
    let h = (radius - (a - b).abs()).max(0.0) / radius;
    a.min(b) - h * h * radius * 0.25
}

fn damage(defect: Option<Defect>) -> (ToothDamage, FaceDamage) {
    let mut tooth = ToothDamage { tooth: 99.0, ..ToothDamage::default() };
    let Some(mut defect) = defect else { return (tooth, FaceDamage::None) };
    let s = defect.strength;
    let face = match defect.kind {
        "broken_tooth" | "bent_tooth" => {
            tooth.tooth = defect.draw.index(20) as f32 - 10.0;
            tooth.seed = defect.draw.seed();
            if defect.kind == "broken_tooth" {
                tooth.loss = mix(0.20, 1.0, s);
            } else {
                tooth.lean = defect.draw.sign() * mix(0.035, 0.12, s);
            }
            FaceDamage::None
        }
        "rust" => {
            let at = defect.place(0.28, 0.70);
            FaceDamage::Rust(Blotch::draw(&mut defect.draw, at, mix(0.035, 0.13, s), 0.6), mix(0.35, 0.95, s))
        }
        "scratch" => {
            let at = defect.place(0.30, 0.62);
            let turns = defect.draw.unit();
            let curve = Curve::draw(&mut defect.draw, at, turns, mix(0.15, 0.55, s), 0.006, 0.006);
            FaceDamage::Scratch(curve, mix(0.007, 0.013, s), mix(0.4, 1.0, s))
        }
        _ => {
            let at = defect.place(0.58, 0.70);
            FaceDamage::Dent(
                Blotch::draw(&mut defect.draw, at, mix(0.028, 0.072, s), 0.2),
                mix(0.012, 0.035, s),
            )
        }
    };
    (tooth, face)
}

fn apply(face: &FaceDamage, x: f32, y: f32, metal: &mut Texel) {
    match face {
        FaceDamage::None => {}
        FaceDamage::Rust(blotch, contrast) => {
            let grain = fbm(x * 40.0, y * 40.0, 2, 77);
            let cover = blotch.at(x, y, 0.9) * contrast * (0.85 + 0.3 * grain);
            let rust = mix3([0.20, 0.075, 0.025], [0.33, 0.14, 0.05], 0.5 + 0.5 * grain);
            metal.coat(rust, 0.0, cover);
            metal.shade = mix(metal.shade, 0.8, cover);
            metal.height += 0.002 * cover * grain;
        }
        FaceDamage::Scratch(curve, half_width, contrast) => {
            let line = curve.at(x, y, *half_width, 0.7) * contrast;
            metal.height -= 0.005 * line;
            metal.shade = mix(metal.shade, 2.0 - 0.6 * metal.shade, line * 0.8);
        }
        FaceDamage::Dent(blotch, depth) => {
            let inside = (-blotch.distance(x, y)).max(0.0);
            let bowl = (inside * 1.6).min(*depth);
            metal.height -= bowl;
            metal.shade *= 1.0 - 0.6 * bead((*depth - bowl).max(0.0), *depth);
        }
    }
}
