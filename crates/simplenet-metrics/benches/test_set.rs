//! A test set of MVTec's size at native resolution: 83 maps of 900x900, 60 of them with defects.
//!
//! `cargo bench -p simplenet-metrics`. The comparison with other libraries on one set of arrays is
//! `tests/peers/metrics_peers.py`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use simplenet_metrics::{
    AnomalyMap, Bootstrap, Connectivity, PimoBounds, RegionDetectionOptions, aupimo, aupro_interval,
    connected_components, pixel_metrics, region_detection, simplenet_compute_pro,
};

mod drawn;

const IMAGES: usize = 83;
const WITH_DEFECTS: usize = 60;
const SIZE: usize = 900;

fn test_set(criterion: &mut Criterion) {
    let images: Vec<drawn::Drawn> = (0..IMAGES)
        .into_par_iter()
        .map(|i| drawn::draw(i as u64, SIZE, SIZE, if i < WITH_DEFECTS { 1 + i % 3 } else { 0 }))
        .collect();
    let maps: Vec<AnomalyMap<'_>> = images
        .iter()
        .map(|drawn::Drawn { scores, mask }| AnomalyMap { scores, mask, width: SIZE, height: SIZE })
        .collect();

    let mut group = criterion.benchmark_group("83 maps of 900x900");
    group.sample_size(10).throughput(Throughput::Elements((IMAGES * SIZE * SIZE) as u64));
    group.bench_function("AUROC + AP + F1-max + AUPRO@0.30 + AUPRO@0.05", |bencher| {
        bencher.iter(|| pixel_metrics(black_box(&maps), &[0.30, 0.05]));
    });
    group.bench_function("AUPIMO", |bencher| {
        bencher.iter(|| aupimo(black_box(&maps), PimoBounds::default()));
    });
    group.bench_function("region detection at a threshold", |bencher| {
        bencher.iter(|| region_detection(black_box(&maps), 3.0, &RegionDetectionOptions::default()));
    });
    group.bench_function("SimpleNet's own PRO", |bencher| {
        bencher.iter(|| simplenet_compute_pro(black_box(&maps)));
    });
    group.bench_function("AUPRO with a bootstrap interval", |bencher| {
        bencher.iter(|| aupro_interval(black_box(&maps), 0.30, &Bootstrap::default()));
    });
    group.finish();

    let mut group = criterion.benchmark_group("one mask of 900x900");
    group.throughput(Throughput::Elements((SIZE * SIZE) as u64));
    group.bench_function("connected components", |bencher| {
        bencher.iter(|| connected_components(black_box(maps[2].mask), SIZE, SIZE, Connectivity::Eight));
    });
    group.finish();
}

criterion_group!(benches, test_set);
criterion_main!(benches);
