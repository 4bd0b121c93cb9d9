//! The compiled network of a detector, in one of two forms. In: an image at the network's scale, cut into tiles. Out: the patch
//! scores of each tile; on a GPU its map too.

mod batch_limit;

use std::{sync::Arc, time::Duration};

use image::RgbImage;
use simplenet_data::{Difference, Preprocess, loader::cut};
use simplenet_model::{
    BatchPredictor, Normalisation, Opened, Predictor, PredictorOptions, checkpoint::ModelRecord,
    simplenet::SimpleNet,
};

use crate::{
    error::InferenceError,
    inspection::timed,
    options::{BATCH, DetectorOptions},
    views::{TileView, View},
};
use batch_limit::BatchLimit;

/// The two forms of a compiled network.
pub(crate) enum Network {
    /// One image at a time, on the CPU.
    Single(Box<Predictor>, Normalisation),
    /// Batches, on a GPU.
    Batches(Box<BatchPredictor>, BatchLimit),
}

/// An image made ready for the network.
pub(crate) struct Prepared {
    /// What its tiles are cut from.
    pub(crate) input: RgbImage,
    pub(crate) view: Arc<View>,
    pub(crate) differences: Vec<Difference>,
    pub(crate) time: Duration,
}

/// What the network says of an image.
pub(crate) struct Scored {
    /// One of each tile of the view.
    pub(crate) tiles: Vec<ScoredTile>,
    pub(crate) view: Arc<View>,
    pub(crate) differences: Vec<Difference>,
    pub(crate) preprocess: Duration,
    pub(crate) network: Duration,
}

/// What the network says of one tile.
pub(crate) struct ScoredTile {
    pub(crate) patch_scores: Vec<f32>,
    /// Where the network makes it; else it is still to be made.
    pub(crate) map: Option<Vec<f32>>,
    time: Duration,
}

impl Prepared {
    /// The pixels of a tile.
    fn tile(&self, tile: &TileView) -> RgbImage {
        cut(&self.input, self.view.layout.window(tile.index))
    }

    fn scored(self, tiles: Vec<ScoredTile>) -> Scored {
        let network = tiles.iter().map(|tile| tile.time).sum();
        let Self { view, differences, time, .. } = self;
        Scored { tiles, view, differences, preprocess: time, network }
    }
}

impl Network {
    /// Compiles `net` for the preprocessing's size: for single images on the CPU, for batches on a GPU.
    ///
    /// # Errors
    /// A precision that the device does not have; a network that cannot be compiled; a device that is out of memory.
    pub(crate) fn compile(
        net: &SimpleNet,
        record: &ModelRecord,
        preprocess: &Preprocess,
        options: &DetectorOptions,
        opened: &Opened,
    ) -> Result<Self, InferenceError> {
        let (width, height) = preprocess.network_size();
        let (width, height) = (width as usize, height as usize);
        let normalisation = Normalisation { mean: preprocess.mean, std: preprocess.std };
        if opened.device.is_cpu() && !options.batches_on_cpu {
            let mut compiled = PredictorOptions::default();
            compiled.precision = options.precision.of(record)?;
            let predictor = Predictor::compile(net, height, width, &compiled)?;
            return Ok(Self::Single(Box::new(predictor), normalisation));
        }
        let predictor = BatchPredictor::compile(
            net,
            height,
            width,
            normalisation,
            record.anomaly_map,
            &opened.device,
            options.precision.of_batches()?,
        )?;
        Ok(Self::Batches(Box::new(predictor), BatchLimit::new(options.batch.unwrap_or(BATCH))))
    }

    /// Rows and columns of patches.
    pub(crate) fn grid(&self) -> (usize, usize) {
        match self {
            Self::Single(predictor, _) => predictor.grid(),
            Self::Batches(predictor, _) => predictor.grid(),
        }
    }

    /// The largest batch; none in the form for single images.
    pub(crate) fn batch(&self) -> Option<usize> {
        match self {
            Self::Single(..) => None,
            Self::Batches(_, limit) => Some(limit.most()),
        }
    }

    /// What a person should know, once.
    pub(crate) fn take_note(&self, device: &str) -> Option<String> {
        match self {
            Self::Single(..) => None,
            Self::Batches(_, limit) => limit.take_note(device),
        }
    }

    /// Scores one image.
    ///
    /// # Errors
    /// A failing tensor operation.
    pub(crate) fn score(&self, prepared: Prepared) -> Result<Scored, InferenceError> {
        let one = |tile: &TileView| -> Result<ScoredTile, InferenceError> {
            let input = prepared.tile(tile);
            let (scores, time) = timed(|| self.run(&input, tile.index));
            let (patch_scores, map) = scores?;
            Ok(ScoredTile { patch_scores, map, time })
        };
        let tiles = prepared.view.tiles.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        Ok(prepared.scored(tiles))
    }

    /// Scores several images; in their order.
    ///
    /// # Errors
    /// A failing tensor operation. A device whose memory does not hold one image; batches that it does not hold are halved.
    pub(crate) fn score_all(&self, prepared: Vec<Prepared>) -> Result<Vec<Scored>, InferenceError> {
        let Self::Batches(predictor, limit) = self else {
            return prepared.into_iter().map(|one| self.score(one)).collect();
        };
        let tiles = |(i, one): (usize, &Prepared)| (0..one.view.tiles.len()).map(move |nth| (i, nth));
        let mut inputs: Vec<(usize, usize)> = prepared.iter().enumerate().flat_map(tiles).collect();
        // A batch is of one position in the images, where the network knows positions apart.
        let position = |&(i, nth): &(usize, usize)| match predictor.tiles() {
            1 => 0,
            _ => prepared[i].view.tiles[nth].index,
        };
        inputs.sort_by_key(position);
        let mut scored: Vec<((usize, usize), ScoredTile)> = Vec::with_capacity(inputs.len());
        for group in inputs.chunk_by(|a, b| position(a) == position(b)) {
            let of_group = limit.run_all(group, |batch| score_batch(predictor, &prepared, batch))?;
            scored.extend(group.iter().copied().zip(of_group));
        }
        // By image, then by tile.
        scored.sort_by_key(|(at, _)| *at);
        let mut scored = scored.into_iter().map(|(_, tile)| tile);
        let with_tiles = |one: Prepared| {
            let tiles = scored.by_ref().take(one.view.tiles.len()).collect();
            one.scored(tiles)
        };
        Ok(prepared.into_iter().map(with_tiles).collect())
    }

    /// Images of the network's size, (B, H, W, 3) bytes, through the network alone, as one batch; the scores are dropped.
    ///
    /// # Errors
    /// Another number of bytes; a failing tensor operation.
    pub(crate) fn run_only(&self, rgb: &[u8], one: usize) -> Result<(), InferenceError> {
        match self {
            Self::Single(..) => rgb.chunks(one).try_for_each(|image| self.run(image, 0).map(drop)),
            Self::Batches(predictor, _) => Ok(predictor.run(rgb).map(drop)?),
        }
    }

    /// (H, W, 3) bytes -> patch scores and, in the form for batches, the map.
    fn run(&self, rgb: &[u8], tile: usize) -> Result<(Vec<f32>, Option<Vec<f32>>), InferenceError> {
        match self {
            Self::Single(predictor, normalisation) => {
                Ok((predictor.patch_scores_of_tile(rgb, normalisation, tile)?, None))
            }
            Self::Batches(predictor, _) => {
                let output = predictor.run_tile(rgb, tile)?;
                Ok((output.patch_scores, Some(output.maps)))
            }
        }
    }
}

/// Tiles of the same position: image, and number among its tiles.
fn score_batch(
    predictor: &BatchPredictor,
    prepared: &[Prepared],
    batch: &[(usize, usize)],
) -> Result<Vec<ScoredTile>, InferenceError> {
    let tile = |&(i, nth): &(usize, usize)| &prepared[i].view.tiles[nth];
    let index = batch.first().map_or(0, |first| tile(first).index);
    let (output, time) = timed(|| {
        let inputs: Vec<RgbImage> = batch.iter().map(|at| prepared[at.0].tile(tile(at))).collect();
        let inputs: Vec<&[u8]> = inputs.iter().map(|input| input.as_raw().as_slice()).collect();
        predictor.run_tile(&inputs.concat(), index)
    });
    let output = output?;
    let count = batch.len().max(1);
    let scores = output.patch_scores.chunks_exact((output.patch_scores.len() / count).max(1));
    let maps = output.maps.chunks_exact((output.maps.len() / count).max(1));
    let scored = scores.zip(maps).map(|(scores, map)| ScoredTile {
        patch_scores: scores.to_vec(),
        map: Some(map.to_vec()),
        time: time / count as u32,
    });
    Ok(scored.collect())
}
