//! A [`Canvas`] as SVG and as PNG, both by plotters.
//!
//! In: shapes in points. Out: an SVG as wide as a column, whose text is text, and a PNG of [`PIXELS`] pixels a point that says so
//! itself. The PNG is drawn [`FINE`] times as large and averaged, which smooths its edges. The same canvas gives the same bytes.

use plotters::backend::{BitMapBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontTransform, IntoFont, IntoTextStyle, RGBColor, ShapeStyle};

use super::Picture;
use super::canvas::{Anchor, Canvas, Point, Shape};
use super::style::{Colour, FAMILY, WHITE, WIDTH, drawable, font};
use crate::output::OutputError;

/// Pixels a point of the PNG, and units a point of the SVG: 288 dots an inch.
const PIXELS: u32 = 4;
/// How much finer than its pixels the PNG is drawn.
const FINE: u32 = 2;
/// Pixels of the PNG a metre: 72 points an inch, 39.37 inches a metre.
const PIXELS_A_METRE: u32 = 11_339;

/// Both pictures of a canvas.
pub(super) fn render(canvas: &Canvas) -> Result<Picture, OutputError> {
    font()?;
    Ok(Picture { svg: svg(canvas)?, png: png(canvas)? })
}

fn size(canvas: &Canvas) -> (u32, u32) {
    let units = |points: f64| (points * f64::from(PIXELS)).round() as u32;
    (units(WIDTH), units(canvas.height))
}

fn failed(error: impl std::fmt::Display) -> OutputError {
    OutputError::Encode { what: "plot", reason: error.to_string() }
}

fn svg(canvas: &Canvas) -> Result<String, OutputError> {
    let (width, height) = size(canvas);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        // Its font sizes are those of the em over 1.24, which is how plotters counts.
        let pen = Pen { unit: f64::from(PIXELS), em: 1.24, below: 0.0, all_characters: true };
        pen.draw(canvas, &area).map_err(failed)?;
        area.present().map_err(failed)?;
    }
    // Not pixels: a paper's column.
    let points = f64::from(height) / f64::from(PIXELS);
    let pixels = format!("<svg width=\"{width}\" height=\"{height}\"");
    Ok(text.replacen(&pixels, &format!("<svg width=\"{WIDTH}pt\" height=\"{points}pt\""), 1))
}

fn png(canvas: &Canvas) -> Result<Vec<u8>, OutputError> {
    let (width, height) = size(canvas);
    let (wide, high) = (width * FINE, height * FINE);
    let mut fine = vec![0; (wide * high * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut fine, (wide, high)).into_drawing_area();
        // ab_glyph's size is the font's height, 1.164 em in DejaVu Sans. Plotters puts the baseline a tenth of that below the
        // middle; half an x (0.235 of it) higher is where texts are to be centred.
        let pen =
            Pen { unit: f64::from(PIXELS * FINE), em: 1.164, below: 0.135 * 1.164, all_characters: false };
        pen.draw(canvas, &area).map_err(failed)?;
        area.present().map_err(failed)?;
    }
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let part = |i: u32| {
                    let (column, row) = (x * FINE + i % FINE, y * FINE + i / FINE);
                    u32::from(fine[((row * wide + column) * 3 + channel) as usize])
                };
                pixels.push(((0..FINE * FINE).map(part).sum::<u32>() / (FINE * FINE)) as u8);
            }
        }
    }
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let (xppu, yppu, unit) = (PIXELS_A_METRE, PIXELS_A_METRE, png::Unit::Meter);
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu, yppu, unit }));
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

/// How points become a backend's units.
struct Pen {
    /// Units a point.
    unit: f64,
    /// A font size in the backend's sense, in em.
    em: f64,
    /// How far below the place that is meant a text has to be put, in em.
    below: f64,
    /// Whether every character can be drawn, or the embedded font's only.
    all_characters: bool,
}

type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

impl Pen {
    fn draw<B: DrawingBackend>(&self, canvas: &Canvas, area: &DrawingArea<B, Shift>) -> Drawn<B> {
        area.fill(&rgb(WHITE))?;
        canvas.shapes.iter().try_for_each(|shape| self.shape(shape, area))
    }

    fn shape<B: DrawingBackend>(&self, shape: &Shape, area: &DrawingArea<B, Shift>) -> Drawn<B> {
        match shape {
            Shape::Line { points, width, colour } => {
                let stroke_width = (width * self.unit).round().max(1.0) as u32;
                let style = ShapeStyle { color: rgb(*colour).to_rgba(), filled: false, stroke_width };
                area.draw(&PathElement::new(self.places(points), style))
            }
            Shape::Area { points, colour } => {
                area.draw(&Polygon::new(self.places(points), rgb(*colour).filled()))
            }
            Shape::Disc { at, radius, colour } => {
                let radius = (radius * self.unit).round() as i32;
                area.draw(&Circle::new(self.place(*at), radius, rgb(*colour).filled()))
            }
            Shape::Text { at, size, anchor, turned, colour, text } => {
                let (x, y) = *at;
                let below = self.below * size;
                let at = if *turned { (x + below, y) } else { (x, y + below) };
                let side = match anchor {
                    Anchor::Start => HPos::Left,
                    Anchor::Middle => HPos::Center,
                    Anchor::End => HPos::Right,
                };
                let font = (FAMILY, size * self.em * self.unit).into_font();
                let font = if *turned { font.transform(FontTransform::Rotate270) } else { font };
                let style = font
                    .color(&rgb(*colour))
                    .into_text_style(&area.dim_in_pixel())
                    .pos(Pos::new(side, VPos::Center));
                let text = match self.all_characters {
                    true => text.clone(),
                    false => drawable(text).unwrap_or_default(),
                };
                area.draw(&Text::new(text, self.place(at), style))
            }
        }
    }

    fn place(&self, (x, y): Point) -> (i32, i32) {
        ((x * self.unit).round() as i32, (y * self.unit).round() as i32)
    }

    /// The places of points, none of them twice in a row.
    fn places(&self, points: &[Point]) -> Vec<(i32, i32)> {
        let mut places: Vec<(i32, i32)> = points.iter().map(|point| self.place(*point)).collect();
        places.dedup();
        places
    }
}

fn rgb([red, green, blue]: Colour) -> RGBColor {
    RGBColor(red, green, blue)
}
