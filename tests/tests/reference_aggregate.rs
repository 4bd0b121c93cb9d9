//! Patch features against the official code's, driven by the manifest of the `aggregate` case: the kernel and the
//! reference chain.

mod common;

use candle_core::Tensor;
use simplenet_model::patch_aggregator::{PatchAggregator, PatchAggregatorConfig};
use simplenet_tests::read_manifest;

use common::{check_tensor, count, input, list, text};

#[test]
fn reference_aggregate() {
    let manifest = read_manifest("aggregate");
    for test in list(&manifest, "tests") {
        let name = text(test, "name");
        let maps: Vec<Tensor> = list(test, "inputs").iter().map(input).collect();
        let channels: Vec<usize> = maps.iter().map(|map| map.dims()[1]).collect();
        let target_dim = count(test, "target_dim");
        let config = PatchAggregatorConfig::adaptive_pool(
            count(test, "patchsize"),
            count(test, "pretrain_dim"),
            target_dim,
        );
        let aggregator = PatchAggregator::new(config, &channels).unwrap();
        for (path, rows) in [
            ("kernel", aggregator.forward(&maps).unwrap()),
            ("reference chain", aggregator.forward_reference(&maps).unwrap()),
        ] {
            // The reference has one row a patch: (image, y, x) flattened.
            let rows = rows.reshape(((), target_dim)).unwrap();
            check_tensor("aggregate", &format!("{name}, {path}"), &test["expected"], &rows);
        }
    }
}
