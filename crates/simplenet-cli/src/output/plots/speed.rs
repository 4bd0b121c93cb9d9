//! Inspection speed against image AUROC, the figure of the SimpleNet paper: a run beside published methods.
//!
//! In: the run's means and the published numbers. Out: a canvas, whose legend names the hardware of every point. Where the run was
//! not tested on MVTec AD, title, label and legend say so. A filled marker is one image at a time, an open one a batch; a line
//! joins what is one method on one machine.

use super::mvtec_ad::TestedOn;
use crate::output::OutputError;
use crate::output::chart::{
    axes::{Axes, Scale},
    canvas::{Anchor, Canvas, Marker, Point},
    style::{
        BLACK, BLUE, Colour, GRAY, GREEN, LARGE, LINE, ORANGE, PAPER, PURPLE, SMALL, VERMILION, WIDTH, plain,
        width_of, wrap,
    },
};
use crate::output::published_speed::PublishedSpeed;
use crate::output::table::Measurement;

/// Height of the frame.
const FRAME: f64 = 128.0;
/// Half a marker.
const RADIUS: f64 = 2.9;
const OWN_RADIUS: f64 = 3.6;
/// Markers and colours of the published methods, in the order of the table.
const LOOKS: [(Marker, Colour); 5] = [
    (Marker::Disc, BLUE),
    (Marker::Square, GREEN),
    (Marker::Up, ORANGE),
    (Marker::Down, PURPLE),
    (Marker::Diamond, BLACK),
];

/// What a run says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnSpeed {
    /// What was run: backbone, precision.
    pub what: String,
    /// The data set's name.
    pub data: String,
    /// Whether that is MVTec AD.
    pub tested_on: TestedOn,
    /// How many categories the means are over, of how many.
    pub categories: (usize, usize),
    /// Image AUROC, 0..=1, mean over categories; its deviation over seeds.
    pub image_auroc: Measurement,
    /// Milliseconds an image, mean over categories.
    pub milliseconds: f64,
    /// How many images at once.
    pub batch: usize,
    /// The machine.
    pub hardware: String,
}

/// A marker at (images a second, AUROC in percent).
struct Mark {
    at: Point,
    open: bool,
}

/// A line of the legend with its marks.
struct Series {
    look: (Marker, Colour),
    radius: f64,
    marks: Vec<Mark>,
    text: String,
}

pub(super) fn speed(own: &OwnSpeed, published: &[PublishedSpeed]) -> Result<Canvas, OutputError> {
    let mut all: Vec<Series> = published.iter().zip(LOOKS.iter().cycle()).map(of_published).collect();
    all.push(of_run(own));
    let text_width = WIDTH - 2.0 * MARGIN;
    let heading = wrap(&plain(&heading(own)), LARGE, text_width, 4)?;
    let top = 6.0 + 11.0 * heading.len() as f64;
    let axes = axes(&all, top);

    let entries = all.iter().map(|series| wrap(&plain(&series.text), SMALL, text_width - SAMPLE, 4));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let remarks = wrap(&remark(published, own), SMALL, text_width, 6)?;
    let lines = entries.iter().map(Vec::len).sum::<usize>() + remarks.len();
    let mut canvas = axes.canvas();
    let below = canvas.height;
    for (index, line) in heading.into_iter().enumerate() {
        canvas.text((MARGIN, 8.0 + 11.0 * index as f64), LARGE, Anchor::Start, BLACK, line);
    }
    axes.grid(&mut canvas);
    axes.frame(&mut canvas);
    canvas.height += LINE * lines as f64 + 9.0;
    for series in &all {
        draw(&mut canvas, &axes, series);
    }
    own_label(&mut canvas, &axes, own)?;
    legend(&mut canvas, &all, entries, remarks, below + LINE / 2.0 + 2.0);
    Ok(canvas)
}

/// Left and right of text that is not in the frame.
const MARGIN: f64 = 8.0;
/// Room of a marker in the legend.
const SAMPLE: f64 = 12.0;

fn of_published((speed, look): (&PublishedSpeed, &(Marker, Colour))) -> Series {
    let alone = speed.milliseconds.map(|ms| Mark { at: (1e3 / ms, speed.image_auroc), open: false });
    let open = speed.batch.is_some_and(|batch| batch > 1);
    let batched = speed.images_per_second.map(|rate| Mark { at: (rate, speed.image_auroc), open });
    let mut text = format!("{}, {}", speed.method, speed.hardware);
    if let Some(input) = &speed.input {
        text += &format!(", {input}");
    }
    if speed.milliseconds.is_none() && speed.batch.is_none() {
        text += ", batch not stated";
    }
    Series { look: *look, radius: RADIUS, marks: alone.into_iter().chain(batched).collect(), text }
}

/// The beginning of a long name: no name may push what matters out of the figure.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() > most {
        text.chars().take(most - 1).chain(['…']).collect()
    } else {
        text.to_string()
    }
}

fn of_run(own: &OwnSpeed) -> Series {
    let at = (1e3 / own.milliseconds, own.image_auroc.mean * 100.0);
    let data = match own.tested_on {
        TestedOn::MvtecAd => String::new(),
        TestedOn::PartOfMvtecAd(n) => format!(", {n} of 15 categories"),
        TestedOn::Other => format!(", on {} (not MVTec AD)", short(&own.data, 40)),
    };
    let incomplete = match own.categories {
        (covered, all) if covered < all => format!(", mean of {covered} of {all} categories"),
        _ => String::new(),
    };
    let batch = if own.batch > 1 { format!(", batch\u{a0}{}", own.batch) } else { String::new() };
    let text = format!("this run: {}{data}{incomplete}, {}{batch}", own.what, short(&own.hardware, 80));
    let marks = vec![Mark { at, open: own.batch > 1 }];
    Series { look: (Marker::Star, VERMILION), radius: OWN_RADIUS, marks, text }
}

fn heading(own: &OwnSpeed) -> String {
    match own.tested_on {
        TestedOn::MvtecAd => "MVTec AD: inspection speed and image AUROC, mean of 15 categories".into(),
        TestedOn::PartOfMvtecAd(n) => format!(
            "Published: all 15 categories of MVTec AD. This run: {n} of them, so its AUROC does not compare."
        ),
        TestedOn::Other => format!(
            "Published: MVTec AD. This run: {}, not MVTec AD, so its AUROC does not compare.",
            short(&own.data, 40)
        ),
    }
}

fn remark(published: &[PublishedSpeed], own: &OwnSpeed) -> String {
    let mut batches: Vec<usize> = published.iter().filter_map(|speed| speed.batch).collect();
    batches.extend(Some(own.batch).filter(|batch| *batch > 1));
    batches.sort_unstable();
    batches.dedup();
    let batches: Vec<String> = batches.iter().map(usize::to_string).collect();
    let open = if batches.is_empty() {
        String::new()
    } else {
        format!("Filled: one image at a time. Open: batch of {}. ", batches.join(" or "))
    };
    let bar = if own.image_auroc.deviation.is_some() { " Bar: deviation over seeds." } else { "" };
    format!("{open}This run is timed from file to verdict.{bar}")
}

fn axes(all: &[Series], top: f64) -> Axes {
    let marks = || all.iter().flat_map(|series| &series.marks).map(|mark| mark.at);
    let ends = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (slow, fast) = ends(&mut marks().map(|(rate, _)| rate));
    let (worst, best) = ends(&mut marks().map(|(_, auroc)| auroc));
    let margin = ((best - worst) * 0.2).max(0.2);
    let (low, high) = (worst - margin, (best + margin).min(100.0 + 0.3 * margin));
    let (low_rate, high_rate) = (slow / 1.5, fast * 1.5);
    let x = Scale {
        low: low_rate,
        high: high_rate,
        ticks: rates(low_rate, high_rate),
        name: "images per second (logarithmic)".into(),
        logarithmic: true,
    };
    let mut y = Scale::linear(low, high.min(100.0), "image AUROC (%)");
    y.high = high;
    Axes::new(PAPER, (x, y), WIDTH, (top, top + FRAME))
}

/// 1, 2 and 5 times powers of ten, or the powers alone where they are many.
fn rates(low: f64, high: f64) -> Vec<(f64, String)> {
    let factors: &[f64] = if high / low > 500.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
    powers
        .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)))
        .filter(|rate| (low..=high).contains(rate))
        .map(|rate| {
            (
                rate,
                if rate < 1.0 {
                    format!("{rate:.3}").trim_end_matches('0').into()
                } else {
                    format!("{rate:.0}")
                },
            )
        })
        .collect()
}

fn draw(canvas: &mut Canvas, axes: &Axes, series: &Series) {
    let (marker, colour) = series.look;
    let places: Vec<Point> = series.marks.iter().map(|mark| axes.at(mark.at.0, mark.at.1)).collect();
    if places.len() > 1 {
        canvas.line(places.clone(), 0.7, colour);
    }
    for (place, mark) in places.into_iter().zip(&series.marks) {
        canvas.marker(marker, place, series.radius, colour, mark.open);
    }
}

/// The run's name beside its marker, and how far its AUROC varies from seed to seed.
fn own_label(canvas: &mut Canvas, axes: &Axes, own: &OwnSpeed) -> Result<(), OutputError> {
    let text = match own.tested_on {
        TestedOn::MvtecAd => "this run".to_string(),
        TestedOn::PartOfMvtecAd(n) => format!("this run: {n} of 15 categories"),
        TestedOn::Other => "this run: not MVTec AD".to_string(),
    };
    let (rate, auroc) = (1e3 / own.milliseconds, own.image_auroc.mean * 100.0);
    if let Some(deviation) = own.image_auroc.deviation.map(|d| d * 100.0).filter(|d| *d > 0.0) {
        let clamp = |y: f64| y.clamp(axes.top, axes.bottom);
        let (x, high) = axes.at(rate, auroc + deviation);
        let (_, low) = axes.at(rate, auroc - deviation);
        canvas.line(vec![(x, clamp(high)), (x, clamp(low))], 0.7, VERMILION);
        for y in [high, low].into_iter().filter(|y| *y == clamp(*y)) {
            canvas.line(vec![(x - 2.0, y), (x + 2.0, y)], 0.7, VERMILION);
        }
    }
    let (x, y) = axes.at(rate, auroc);
    let bar = own.image_auroc.deviation.map_or(0.0, |d| y - axes.at(rate, auroc + d * 100.0).1);
    let away = f64::max(10.0, bar + 6.0);
    let half = width_of(&text, SMALL)? / 2.0;
    let middle = x.clamp(axes.left + half + 2.0, (axes.right - half - 2.0).max(axes.left + half + 2.0));
    // Below the marker, where there is room; other markers are rarely below, and a text would cover none of them.
    let y = if y + away + 6.0 < axes.bottom { y + away } else { (y - away).max(axes.top + 6.0) };
    canvas.text((middle, y), SMALL, Anchor::Middle, BLACK, text);
    Ok(())
}

fn legend(canvas: &mut Canvas, all: &[Series], entries: Vec<Vec<String>>, remarks: Vec<String>, top: f64) {
    let mut y = top;
    for (series, lines) in all.iter().zip(entries) {
        let (marker, colour) = series.look;
        canvas.marker(marker, (MARGIN + 3.5, y), series.radius * 0.95, colour, false);
        for line in lines {
            canvas.text((MARGIN + SAMPLE, y), SMALL, Anchor::Start, BLACK, line);
            y += LINE;
        }
    }
    for line in remarks {
        canvas.text((MARGIN, y + 2.0), SMALL, Anchor::Start, GRAY, line);
        y += LINE;
    }
}
