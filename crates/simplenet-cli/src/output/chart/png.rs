//! A [`Canvas`] as PNG, by tiny-skia: the shapes that the SVG has, and texts in the outlines of the embedded font.
//!
//! In: shapes in points. Out: a picture of [`PIXELS`] pixels per point that says so itself. The same canvas gives the same bytes.

use ab_glyph::{Font, OutlineCurve};
use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};

use super::{
    canvas::{Anchor, Canvas, Point, Shape},
    style::{Colour, HALF_X, drawable, font, units_per_em, width_of},
};
use crate::output::OutputError;

/// Pixels per point: 288 dots per inch.
const PIXELS: f32 = 4.0;
/// Pixels per metre: 72 points per inch, 39.37 inches per metre.
const PIXELS_PER_METRE: u32 = 11_339;

/// The PNG file.
pub(in crate::output) fn file(canvas: &Canvas) -> Result<Vec<u8>, OutputError> {
    let pixels = |points: f64| (points as f32 * PIXELS).round() as u32;
    let (width, height) = (pixels(canvas.width), pixels(canvas.height));
    let mut picture = Pixmap::new(width, height).ok_or_else(|| failed("no room for its pixels"))?;
    picture.fill(Color::WHITE);
    for shape in &canvas.shapes {
        draw(&mut picture, shape)?;
    }
    // Nothing is transparent.
    let rgb: Vec<u8> =
        picture.data().chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let (xppu, yppu, unit) = (PIXELS_PER_METRE, PIXELS_PER_METRE, png::Unit::Meter);
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu, yppu, unit }));
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&rgb).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

fn failed(error: impl std::fmt::Display) -> OutputError {
    OutputError::Encode { what: "plot", reason: error.to_string() }
}

fn draw(picture: &mut Pixmap, shape: &Shape) -> Result<(), OutputError> {
    let scale = Transform::from_scale(PIXELS, PIXELS);
    match shape {
        Shape::Line { points, width, colour } => {
            if let Some(path) = polygon(points, false) {
                let stroke = Stroke { width: *width as f32, ..Stroke::default() };
                picture.stroke_path(&path, &paint(*colour), &stroke, scale, None);
            }
        }
        Shape::Area { points, colour } => fill(picture, polygon(points, true), *colour, scale),
        Shape::Bar { from, to, colour, .. } => {
            let bar = Rect::from_ltrb(from.0 as f32, from.1 as f32, to.0 as f32, to.1 as f32);
            fill(picture, bar.map(PathBuilder::from_rect), *colour, scale);
        }
        Shape::Disc { at: (x, y), radius, colour, .. } => {
            fill(picture, PathBuilder::from_circle(*x as f32, *y as f32, *radius as f32), *colour, scale);
        }
        Shape::Text { at: (x, y), size, anchor, turned, colour, text } => {
            let text = drawable(text)?;
            let before = match anchor {
                Anchor::Start => 0.0,
                Anchor::Middle => width_of(&text, *size)? / 2.0,
                Anchor::End => width_of(&text, *size)?,
            };
            let turn = Transform::from_rotate(if *turned { -90.0 } else { 0.0 });
            let unit = (*size / units_per_em(font()?)) as f32;
            let place = Transform::from_translate(-before as f32, (*size * HALF_X) as f32)
                .pre_scale(unit, -unit)
                .post_concat(turn)
                .post_concat(Transform::from_translate(*x as f32, *y as f32))
                .post_concat(scale);
            fill(picture, outlines(&text)?, *colour, place);
        }
    }
    Ok(())
}

fn paint(colour: Colour) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    if let Colour::Rgb([red, green, blue]) = colour {
        paint.set_color_rgba8(red, green, blue, 255);
    }
    paint
}

fn fill(picture: &mut Pixmap, path: Option<Path>, colour: Colour, place: Transform) {
    // Nothing to draw: a space, a bar without height.
    if let Some(path) = path {
        picture.fill_path(&path, &paint(colour), FillRule::Winding, place, None);
    }
}

fn polygon(points: &[Point], closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (index, (x, y)) in points.iter().enumerate() {
        if index == 0 {
            path.move_to(*x as f32, *y as f32);
        } else {
            path.line_to(*x as f32, *y as f32);
        }
    }
    if closed {
        path.close();
    }
    path.finish()
}

/// The letters of a text side by side, in units of the font, upwards from their line.
fn outlines(text: &str) -> Result<Option<Path>, OutputError> {
    let font = font()?;
    let mut path = PathBuilder::new();
    let mut left = 0.0;
    for letter in text.chars() {
        let glyph = font.glyph_id(letter);
        let curves = font.outline(glyph).map(|outline| outline.curves).unwrap_or_default();
        let mut end = None;
        for curve in curves {
            let (from, to) = match curve {
                OutlineCurve::Line(from, to) | OutlineCurve::Quad(from, _, to) => (from, to),
                OutlineCurve::Cubic(from, _, _, to) => (from, to),
            };
            if end != Some(from) {
                path.move_to(left + from.x, from.y);
            }
            match curve {
                OutlineCurve::Line(..) => path.line_to(left + to.x, to.y),
                OutlineCurve::Quad(_, c, _) => path.quad_to(left + c.x, c.y, left + to.x, to.y),
                OutlineCurve::Cubic(_, c, d, _) => {
                    path.cubic_to(left + c.x, c.y, left + d.x, d.y, left + to.x, to.y);
                }
            }
            end = Some(to);
        }
        left += font.h_advance_unscaled(glyph);
    }
    Ok(path.finish())
}
