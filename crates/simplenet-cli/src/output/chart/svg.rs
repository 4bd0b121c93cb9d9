//! A [`Canvas`] as SVG. In: shapes. Out: elements, one a line, whose text is text; the same shapes give the same bytes.

use super::{
    canvas::{Anchor, Canvas, Point, Shape},
    style::{Colour, HALF_X, OF_PAGE},
};

/// A file of its own, in points of paper, on white.
pub(in crate::output) fn file(canvas: &Canvas) -> String {
    let (width, height) = (number(canvas.width), number(canvas.height));
    let shapes = elements(canvas);
    format!(
        "<svg width=\"{width}pt\" height=\"{height}pt\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{shapes}</svg>\n"
    )
}

/// A part of the page, named for those who do not see it; `attributes` begins with a space.
pub(in crate::output) fn inline(canvas: &Canvas, name: &str, attributes: &str) -> String {
    let (width, height) = (number(canvas.width), number(canvas.height));
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{name}\"{attributes}>{}</svg>",
        elements(canvas)
    )
}

fn elements(canvas: &Canvas) -> String {
    canvas.shapes.iter().map(element).collect()
}

fn element(shape: &Shape) -> String {
    match shape {
        Shape::Line { points, width, colour } => {
            let pen = match colour {
                Colour::Rgb(_) => format!(
                    " fill=\"none\" stroke=\"{}\"{}",
                    hex(*colour),
                    numbers([("stroke-width", *width)])
                ),
                Colour::Class(_) => paint(*colour),
            };
            match points[..] {
                [(x1, y1), (x2, y2)] => {
                    format!("<line{pen}{}/>\n", numbers([("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)]))
                }
                _ => format!("<path{pen} d=\"{}\"/>\n", path(points)),
            }
        }
        Shape::Area { points, colour } => format!("<path{} d=\"{}Z\"/>\n", paint(*colour), path(points)),
        Shape::Bar { from, to, round, colour, tip } => {
            let size = [("width", to.0 - from.0), ("height", to.1 - from.1)];
            let place = numbers([("x", from.0), ("y", from.1), size[0], size[1]]);
            let round = if *round > 0.0 { numbers([("rx", *round)]) } else { String::new() };
            format!("<rect{}{place}{round}>{}</rect>\n", paint(*colour), title(tip))
        }
        Shape::Disc { at, radius, colour, tip } => {
            let place = numbers([("cx", at.0), ("cy", at.1), ("r", *radius)]);
            format!("<circle{}{place}>{}</circle>\n", paint(*colour), title(tip))
        }
        Shape::Text { at: (x, y), size, anchor, turned, colour, text } => {
            let below = size * HALF_X;
            let (x, y) = if *turned { (x + below, *y) } else { (*x, y + below) };
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            // The page sets the size itself.
            let size = if matches!(colour, Colour::Rgb(_)) {
                numbers([("font-size", *size)])
            } else {
                String::new()
            };
            let turn = if *turned {
                format!(" transform=\"rotate(-90 {} {})\"", number(x), number(y))
            } else {
                String::new()
            };
            let place = numbers([("x", x), ("y", y)]) + &turn;
            format!(
                "<text{}{size}{place} text-anchor=\"{anchor}\">\n{}\n</text>\n",
                paint(*colour),
                escape(text)
            )
        }
    }
}

fn numbers<const N: usize>(attributes: [(&str, f64); N]) -> String {
    attributes.map(|(name, value)| format!(" {name}=\"{}\"", number(value))).concat()
}

fn title(tip: &str) -> String {
    if tip.is_empty() { String::new() } else { format!("<title>{}</title>", escape(tip)) }
}

fn paint(colour: Colour) -> String {
    match colour {
        Colour::Rgb(_) => format!(" fill=\"{}\"", hex(colour)),
        OF_PAGE => String::new(),
        Colour::Class(class) => format!(" class=\"{class}\""),
    }
}

fn hex(colour: Colour) -> String {
    match colour {
        Colour::Rgb([red, green, blue]) => format!("#{red:02x}{green:02x}{blue:02x}"),
        Colour::Class(_) => "currentColor".into(),
    }
}

fn path(points: &[Point]) -> String {
    let places: Vec<String> = points.iter().map(|(x, y)| format!("{} {}", number(*x), number(*y))).collect();
    format!("M{}", places.join("L"))
}

/// Hundredths of a point.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".into(),
        short => short.into(),
    }
}

fn escape(text: &str) -> String {
    let pairs = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&apos;")];
    pairs.iter().fold(text.to_string(), |text, (sign, name)| text.replace(*sign, name))
}
