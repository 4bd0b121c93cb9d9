//! Patch features of the embedded backbone: what SimpleNet's head is trained on, for methods of one's own.
//!
//! In: nothing; an image of stripes with one odd spot is drawn. Out: for each patch how far its feature lies from the mean over
//! all patches, which finds the spot without any training.
//!
//! ```sh
//! cargo run --release -p simplenet-model --example patch_features
//! ```

use candle_core::{Device, IndexOp, Tensor};
use simplenet_model::{
    BackboneId, BackboneWeights, Levels, patch_aggregator::PatchAggregatorConfig, simplenet::FeatureExtractor,
};

/// Side of the drawn image in pixels.
const SIDE: usize = 128;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backbone = BackboneId::EfficientNetLite0;
    let weights = BackboneWeights::embedded(backbone)?;
    // The mean over 3 x 3 neighbours of every channel.
    let aggregator = PatchAggregatorConfig::channel_mean(3);
    let extractor = FeatureExtractor::load(backbone, Levels::default(), &weights, aggregator, &Device::Cpu)?;

    let image = Tensor::from_vec(drawn(), (1, 3, SIDE, SIDE), &Device::Cpu)?;
    let features = extractor.features(&image)?; // (B, h, w, D)
    let (_, rows, columns, dim) = features.dims4()?;
    println!("{rows} x {columns} patches of {dim} values");

    let mean = features.mean_keepdim((1, 2))?;
    let distance = features.broadcast_sub(&mean)?.sqr()?.sum(3)?.sqrt()?; // (B, h, w)
    for row in distance.i(0)?.to_vec2::<f32>()? {
        println!("{}", row.iter().map(|value| format!("{value:4.0}")).collect::<Vec<_>>().join(" "));
    }
    Ok(())
}

/// Gray stripes with a bright spot, (3, SIDE, SIDE), as normalised values.
fn drawn() -> Vec<f32> {
    let pixel = |i: usize| {
        let (x, y) = (i % SIDE, i / SIDE % SIDE);
        let in_spot = x.abs_diff(88) < 9 && y.abs_diff(40) < 9;
        if in_spot { 2.0 } else { (x as f32 * 0.4).sin() * 0.5 }
    };
    (0..3 * SIDE * SIDE).map(pixel).collect()
}
