//! Evaluates a test set whose maps would not fit in memory, and says how much memory that took.
//!
//! `cargo run --release -p simplenet-metrics --example large_test_set -- [IMAGES] [SIZE]`: by default 2,000 images of
//! 2,000x2,000 pixels (8 billion, 32 GB of scores), half of them with defects. They are drawn one by one, handed to
//! a [`PixelAccumulator`] from all threads, and forgotten. Goes out: the pixel metrics, seconds, and the peak memory
//! of the process (Linux only).

use std::time::Instant;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use simplenet_metrics::{AnomalyMap, MetricError, PixelAccumulator};

#[path = "../benches/drawn/mod.rs"]
mod drawn;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let images = numbers.next().transpose()?.unwrap_or(2000);
    let size = numbers.next().transpose()?.unwrap_or(2000);
    let pixels = images as f64 * (size * size) as f64;
    println!("{images} images of {size}x{size}: {:.1} GB of scores", pixels * 4.0 / 1e9);

    let start = Instant::now();
    let set = PixelAccumulator::new();
    (0..images).into_par_iter().try_for_each(|image| {
        let drawn::Drawn { scores, mask } = drawn::draw(image as u64, size, size, image % 4);
        set.add(&AnomalyMap { scores: &scores, mask: &mask, width: size, height: size })
    })?;
    let ranking = set.finish()?;
    let metrics = ranking.metrics(&[0.30, 0.05]);

    let show = |value: &Result<f64, MetricError>| match value {
        Ok(value) => format!("{value:.6}"),
        Err(error) => format!("n/a ({error})"),
    };
    println!("pixel AUROC        {}", show(&metrics.auroc));
    println!("average precision  {}", show(&metrics.average_precision));
    println!("F1-max             {}", show(&metrics.f1_max.map(|best| best.f1)));
    println!("AUPRO@0.30         {}", show(&metrics.aupro[0]));
    println!("AUPRO@0.05         {}", show(&metrics.aupro[1]));
    println!(
        "{} normal and {} anomalous pixels, {} regions",
        metrics.normal_pixels, metrics.anomalous_pixels, metrics.regions
    );
    println!("{:.1} s, drawing included; peak memory {}", start.elapsed().as_secs_f64(), peak_memory());
    Ok(())
}

/// The largest resident size of this process so far.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kibibytes.map_or("unknown".to_owned(), |kibibytes| format!("{} MiB", kibibytes / 1024))
}
