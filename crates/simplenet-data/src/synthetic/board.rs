//! `circuit_board`: a small populated board, aligned as in a fixture.
//!
//! In: the part's stream and perhaps a defect. Out: its picture in linear light. Between good boards the
//! fixture's play, the placement of each component, the mask's green, the solder and the prints vary.

use super::Product;
use super::board_layout::{
    Body, CHIP, COMPONENTS, Component, HALF, MOUNTS, PASSIVES, header, leads, silk_screen, tracks, vias,
};
use super::camera::{CameraStyle, STEADY_CAMERA, grey};
use super::canvas::{Canvas, Light, Pose, Surface, Texel};
use super::defects::{Blotch, Curve, Defect};
use super::math::{cos_turns, mix, mix3, scale3, smoothstep};
use super::noise::{Draw, fbm, value_noise};
use super::shapes::{bead, chain, cover, length, nearest, rounded_box, segment, text_segments};

pub(super) const PRODUCT: Product = Product {
    name: "circuit_board",
    defects: &["missing_part", "shifted_part", "solder_bridge", "scratch", "flux_residue"],
    camera: CameraStyle { gain_spread: 0.07, blur: (0.5, 0.7), ..STEADY_CAMERA },
    paint,
};

const GOLD: [f32; 3] = [0.62, 0.45, 0.17];
const SOLDER: [f32; 3] = [0.46, 0.47, 0.48];

/// The state of one board.
struct Board {
    pose: Pose,
    shadow: (f32, f32),
    solder: f32,
    tan: [f32; 3],
    print: f32,
    rough: u32,
}

enum Damage {
    None,
    Missing(usize),
    Shifted(usize, (f32, f32), f32),
    Bridge(Pose, Blotch, f32),
    Scratch(Curve, f32, f32),
    Flux(Blotch, f32),
}

fn paint(size: usize, mut part: Draw, defect: Option<Defect>) -> Canvas {
    let pose =
        Pose::new(part.jitter(0.003), part.range(0.99, 1.01), (part.jitter(0.018), part.jitter(0.018)));
    let light = Light { azimuth: 0.63 + part.jitter(0.02), steepness: 1.3, ambient: 0.45, shine: 6 };
    let board = Board {
        pose,
        shadow: (-0.03 * cos_turns(light.azimuth), -0.03 * cos_turns(light.azimuth - 0.25)),
        solder: part.range(0.8, 1.2),
        tan: mix3([0.40, 0.27, 0.15], [0.47, 0.34, 0.21], part.unit()),
        print: part.range(0.30, 0.55),
        rough: part.seed(),
    };
    let green = mix3([0.018, 0.115, 0.045], [0.022, 0.150, 0.075], part.unit());
    let damage = damage(defect);

    let tray = part.seed();
    let mut surface =
        Surface::new(size, |x, y| Texel::matt(grey(0.030 + 0.006 * fbm(x * 12.0, y * 12.0, 3, tray), 0.3)));
    bare_board(&mut surface, &board, green);
    for (index, component) in COMPONENTS.iter().enumerate() {
        // Placement machines are good to a few hundredths of a millimetre, not better.
        let mut at = (component.at.0 + part.jitter(0.003), component.at.1 + part.jitter(0.003));
        let mut turns = component.turns + part.jitter(0.004);
        pads(&mut surface, &board, component);
        match damage {
            Damage::Missing(lost) if lost == index => continue,
            Damage::Shifted(moved, shift, turned) if moved == index => {
                at = (at.0 + shift.0, at.1 + shift.1);
                turns += turned;
            }
            _ => {}
        }
        place(&mut surface, &board, component, pose.child(turns, at));
    }
    blemish(&mut surface, &board, &damage);
    surface.light(light)
}

/// Substrate, copper, gold and silk screen.
fn bare_board(surface: &mut Surface, board: &Board, green: [f32; 3]) {
    let (pose, pixel, rough) = (board.pose, surface.pixel(), board.rough);
    surface.stamp(pose, 1.3, |x, y, texel| {
        let edge = rounded_box(x, y, HALF.0, HALF.1, 0.05);
        texel.shade *= 1.0 - 0.6 * smoothstep(0.06, -0.02, edge - 0.02);
        let inside = cover(edge, pixel);
        // Ground copper under the mask shows as a lighter field; the glass weave as a faint texture.
        let pour = cover(rounded_box(x - 0.42, y + 0.02, 0.46, 0.74, 0.03), pixel);
        let weave = 0.04 * cos_turns(x * 46.0) * cos_turns(y * 46.0) + 0.05 * fbm(x * 3.0, y * 3.0, 2, rough);
        texel.coat(scale3(green, 1.0 + 0.16 * pour + weave), 0.05, inside);
        texel.shade = mix(texel.shade, 1.0, inside);
        texel.height = (0.01 - (edge + 0.01).clamp(0.0, 0.01)) * inside;
    });
    for (points, half_width) in tracks() {
        let (low, high) = points.iter().fold(((9.0_f32, 9.0_f32), (-9.0_f32, -9.0_f32)), |(l, h), p| {
            ((l.0.min(p.0), l.1.min(p.1)), (h.0.max(p.0), h.1.max(p.1)))
        });
        let (centre, radius) = (
            ((low.0 + high.0) / 2.0, (low.1 + high.1) / 2.0),
            (high.0 - low.0).max(high.1 - low.1) / 2.0 + 0.03,
        );
        surface.stamp(pose.child(0.0, centre), radius, |x, y, texel| {
            let (distance, _) = chain(x + centre.0, y + centre.1, &points);
            let copper = cover(distance - half_width, pixel);
            texel.coat(mix3(scale3(green, 1.9), GOLD, 0.10), 0.08, copper);
            texel.height += 0.004 * copper;
        });
    }
    let ring = |surface: &mut Surface, at, outer: f32, inner: f32| {
        surface.stamp(pose.child(0.0, at), outer + 0.02, |x, y, texel| {
            let r = length(x, y);
            let annulus = cover(r - outer, pixel);
            texel.coat(GOLD, 0.25, annulus);
            texel.height += 0.005 * annulus;
            texel.coat([0.012, 0.012, 0.012], 0.0, cover(r - inner, pixel));
        });
    };
    vias().into_iter().for_each(|at| ring(surface, at, 0.019, 0.009));
    header().for_each(|at| ring(surface, at, 0.033, 0.017));
    MOUNTS.into_iter().for_each(|at| ring(surface, at, 0.072, 0.048));
    let ink = 0.30 + board.print * 0.5;
    for line in silk_screen() {
        let middle = ((line[0].0 + line[1].0) / 2.0, (line[0].1 + line[1].1) / 2.0);
        let reach = length(line[1].0 - line[0].0, line[1].1 - line[0].1) / 2.0 + 0.02;
        surface.stamp(pose.child(0.0, middle), reach, |x, y, texel| {
            let white = cover(segment(x + middle.0, y + middle.1, line[0], line[1]) - 0.005, pixel);
            texel.coat([ink, ink, ink * 0.97], 0.0, 0.85 * white);
        });
    }
}

/// Solder on the pads of a component; it stays where the pad is, even if the component moves.
fn pads(surface: &mut Surface, board: &Board, component: &Component) {
    let (pixel, rough, shine) = (surface.pixel(), board.rough, 0.9 * board.solder);
    let pose = board.pose.child(component.turns, component.at);
    let mut solder = |x: f32, y: f32, w: f32, h: f32| {
        surface.stamp(pose.child(0.0, (x, y)), w.max(h) * 1.5, |u, v, texel| {
            let edge = rounded_box(u, v, w, h, w.min(h) * 0.5);
            let inside = cover(edge, pixel);
            let dome = (-edge / w.min(h)).clamp(0.0, 1.0);
            texel.coat(scale3(SOLDER, 1.0 + 0.1 * value_noise(u * 90.0, v * 90.0, rough)), shine, inside);
            texel.height += 0.016 * dome * (2.0 - dome) * inside;
        });
    };
    match component.body {
        Body::Resistor | Body::Capacitor => {
            solder(-CHIP.0, 0.0, 0.026, 0.036);
            solder(CHIP.0, 0.0, 0.026, 0.036);
        }
        Body::Can(radius) => {
            solder(-radius, 0.0, 0.05, 0.035);
            solder(radius, 0.0, 0.05, 0.035);
        }
        Body::Crystal => {
            solder(-0.13, 0.0, 0.04, 0.04);
            solder(0.13, 0.0, 0.04, 0.04);
        }
        body => leads(body).into_iter().for_each(|(x, y, w, h)| solder(x * 1.03, y * 1.03, w, h * 1.05)),
    }
}

/// The component itself, with its shadow, leads and print.
fn place(surface: &mut Surface, board: &Board, component: &Component, pose: Pose) {
    let (pixel, rough) = (surface.pixel(), board.rough);
    let (half, corner, high) = match component.body {
        Body::Resistor => (CHIP, 0.006, 0.030),
        Body::Capacitor => ((CHIP.0, CHIP.1 * 1.05), 0.010, 0.040),
        Body::Quad { half, .. } => ((half, half), 0.012, 0.045),
        Body::Dual { half, .. } => (half, 0.012, 0.045),
        Body::Can(radius) => ((radius, radius), radius, 0.12),
        Body::Crystal => ((0.15, 0.062), 0.060, 0.06),
    };
    let far = length(half.0, half.1);
    let (px, py) = pose.to_picture(0.0, 0.0);
    let throw = high / 0.04;
    let shadow = Pose::new(0.0, 1.0, (px + board.shadow.0 * throw, py + board.shadow.1 * throw));
    surface.stamp(shadow, far + 0.06, |x, y, texel| {
        let (u, v) = pose.to_part(x + px, y + py);
        texel.shade *= 1.0 - 0.6 * smoothstep(0.02, -0.02, rounded_box(u, v, half.0, half.1, corner));
    });
    for (x, y, w, h) in leads(component.body) {
        surface.stamp(pose.child(0.0, (x, y)), w.max(h) * 1.5, |u, v, texel| {
            let inside = cover(rounded_box(u, v, w, h, 0.003), pixel);
            texel.coat(scale3(SOLDER, 1.2), 0.5, inside);
            texel.height += 0.008 * inside;
            texel.shade = mix(texel.shade, 1.0, 0.7 * inside);
        });
    }
    let text_height = match component.body {
        Body::Resistor => 0.030,
        Body::Quad { .. } => 0.052,
        _ => 0.055,
    };
    let mut print = Vec::new();
    let lines = component.text.split('/').count() as f32;
    for (line, text) in component.text.split('/').enumerate() {
        let down = (line as f32 - (lines - 1.0) / 2.0) * 1.9 * text_height;
        print.extend(text_segments(text, text_height).iter().map(|s| s.map(|(x, y)| (x, y + down))));
    }
    surface.stamp(pose, far + 0.02, |x, y, texel| {
        let edge = rounded_box(x, y, half.0, half.1, corner);
        let inside = cover(edge, pixel);
        if inside == 0.0 {
            return;
        }
        let mut body = body_material(component.body, x, y, edge, board);
        body.albedo = scale3(body.albedo, 1.0 + 0.06 * value_noise(x * 70.0 + px * 9.0, y * 70.0, rough));
        let ink = cover(nearest(x, y, &print) - 0.10 * text_height, pixel);
        body.coat(grey(board.print, 0.0), 0.0, 0.8 * ink);
        texel.coat(body.albedo, body.gloss, inside);
        texel.height = mix(texel.height, body.height, inside);
        texel.shade = mix(texel.shade, body.shade, inside);
    });
}

fn body_material(body: Body, x: f32, y: f32, edge: f32, board: &Board) -> Texel {
    let bevel = |width: f32| width - (edge + width).clamp(0.0, width);
    let end = smoothstep(CHIP.0 * 0.58, CHIP.0 * 0.66, x.abs());
    let (albedo, height, gloss, shade) = match body {
        Body::Resistor => {
            (mix3([0.022, 0.022, 0.025], scale3(SOLDER, 1.15), end), bevel(0.01), 0.10 + 0.3 * end, 1.0)
        }
        Body::Capacitor => (mix3(board.tan, scale3(SOLDER, 1.15), end), bevel(0.014), 0.12 + 0.3 * end, 1.0),
        Body::Quad { half, .. } => {
            let dimple = bead(length(x + half * 0.74, y + half * 0.74), 0.022);
            ([0.028, 0.028, 0.030], bevel(0.02) - 0.008 * dimple, 0.05, 1.0 - 0.4 * dimple)
        }
        Body::Dual { half, .. } => {
            let notch = bead(length(x, y + half.1), 0.035);
            ([0.026, 0.026, 0.029], bevel(0.02) - 0.01 * notch, 0.05, 1.0 - 0.4 * notch)
        }
        Body::Can(radius) => {
            let sector = smoothstep(-0.55 * radius, -0.6 * radius, x);
            let groove = bead((length(x, y) - radius * 0.86).abs(), 0.012);
            (mix3([0.50, 0.50, 0.51], [0.02, 0.02, 0.025], sector), bevel(0.03) - 0.006 * groove, 0.12, 1.0)
        }
        Body::Crystal => ([0.47, 0.47, 0.46], bevel(0.022), 0.22, 1.0),
    };
    Texel { albedo, height, gloss, shade }
}

fn damage(defect: Option<Defect>) -> Damage {
    let Some(mut defect) = defect else { return Damage::None };
    let s = defect.strength;
    let draw = &mut defect.draw;
    let at = (draw.jitter(0.75), draw.jitter(0.62));
    match defect.kind {
        "missing_part" => Damage::Missing(draw.index(PASSIVES)),
        "shifted_part" => {
            let far = mix(0.028, 0.09, s);
            let angle = draw.unit();
            let shift = (far * cos_turns(angle), far * cos_turns(angle - 0.25));
            Damage::Shifted(draw.index(PASSIVES), shift, draw.sign() * mix(0.01, 0.14, s * draw.unit()))
        }
        "solder_bridge" => {
            let component = COMPONENTS[14 + draw.index(2)];
            let leads = leads(component.body);
            let (x, y, w, h) = leads[draw.index(leads.len())];
            // Half a pitch aside along the row of leads.
            let pitch = if w == 0.032 { 0.075 } else { 0.041 };
            let (dx, dy) =
                if w > h { (0.0, -y.signum() * pitch / 2.0) } else { (-x.signum() * pitch / 2.0, 0.0) };
            let blob = Blotch::draw(draw, (x * 1.05 + dx, y * 1.05 + dy), mix(0.036, 0.080, s), 0.25);
            Damage::Bridge(Pose::new(component.turns, 1.0, component.at), blob, mix(0.8, 1.0, s))
        }
        "scratch" => {
            let turns = draw.unit();
            let curve = Curve::draw(draw, at, turns, mix(0.22, 0.8, s), 0.01, 0.006);
            Damage::Scratch(curve, mix(0.008, 0.017, s), mix(0.35, 1.0, s))
        }
        _ => Damage::Flux(Blotch::draw(draw, at, mix(0.08, 0.21, s), 0.45), mix(0.30, 1.0, s)),
    }
}

fn blemish(surface: &mut Surface, board: &Board, damage: &Damage) {
    match damage {
        Damage::None | Damage::Missing(_) | Damage::Shifted(..) => {}
        Damage::Bridge(at, blob, amount) => surface.stamp(board.pose, 1.2, |x, y, texel| {
            let (u, v) = at.to_part(x, y);
            let inside = blob.at(u, v, 0.35) * amount;
            texel.coat(scale3(SOLDER, 1.1), 0.9 * board.solder, inside);
            texel.height += 0.5 * (-blob.distance(u, v)).clamp(0.0, 0.025);
            texel.shade = mix(texel.shade, 1.0, inside);
        }),
        Damage::Scratch(curve, half_width, contrast) => surface.stamp(board.pose, 1.2, |x, y, texel| {
            let line = curve.at(x, y, *half_width, 0.6) * contrast;
            texel.coat([0.42, 0.36, 0.20], 0.2, 0.85 * line);
            texel.height -= 0.005 * line;
        }),
        Damage::Flux(patch, contrast) => surface.stamp(board.pose, 1.2, |x, y, texel| {
            let film = patch.at(x, y, 0.6) * contrast;
            let rim = bead(patch.distance(x, y), 0.018) * contrast;
            texel.coat([0.42, 0.38, 0.26], 0.12, 0.55 * film + 0.35 * rim);
        }),
    }
}
