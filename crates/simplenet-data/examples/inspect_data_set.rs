//! Looks at a data set before anything is trained on it.
//!
//! In: a data set, a category or a CSV list; without an argument, a small set that is drawn into a temporary folder.
//! Out: its layout, what each category holds, what is wrong with it, and its first image as a network input.
//!
//! ```sh
//! cargo run -p simplenet-data --example inspect_data_set -- data/mvtec_ad
//! ```

use std::{env, path::PathBuf};

use simplenet_data::{
    Loader, LoaderOptions, Preprocess,
    dataset::{CheckOptions, Source, check},
    synthetic::{DemoOptions, write_demo},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = match env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => demo()?,
    };
    let recognised = Source::path(&path).recognise()?;
    println!("{}: {} ({})", path.display(), recognised.layout, recognised.why.join(", "));

    let options = CheckOptions::default();
    let report = check(&path, &recognised, &options, &|_, _| {});
    for counts in &report.categories {
        let (train, good, bad) = (counts.train, counts.test_good, counts.test_anomalous);
        println!("{}: {train} to train on, {good} good and {bad} anomalous to test on", counts.name);
    }
    for finding in report.problems.iter().chain(&report.notes) {
        println!("{} {}: {}", finding.kind, finding.category, finding.message);
    }

    let Some(place) = recognised.places.first() else { return Ok(()) };
    let category = place.load(&options.decode)?;
    let paths = category.train.iter().take(1).map(|sample| sample.path.clone()).collect();
    for image in Loader::new(paths, &Preprocess::default(), &LoaderOptions::default())? {
        let image = image?;
        let brightest = image.tensor.iter().copied().fold(f32::MIN, f32::max);
        let (width, height) = image.original;
        println!("first image: {width} x {height} -> {} values, {brightest:.2} at most", image.tensor.len());
    }
    Ok(())
}

/// Draws the demo set, small.
fn demo() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let folder = env::temp_dir().join("simplenet-demo-small");
    let mut options = DemoOptions::default();
    (options.image_size, options.train_good, options.test_good, options.test_per_defect) = (96, 4, 2, 1);
    write_demo(&folder, &options, &|_, _| {})?;
    Ok(folder)
}
