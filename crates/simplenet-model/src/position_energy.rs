//! How far a patch lies from what is normal at its place: the position-aware half of the patch score. In: patch features
//! after the norm, (h·w, D). Out: an energy a patch, the Mahalanobis distance to the good parts' mean at the patch's place,
//! under the covariance of the place's cell.
//!
//! Parts lie alike under an inspection camera, so what is normal differs from place to place; one discriminator for all
//! places cannot know that. The grid is cut into square cells; every place has a mean of its own, every cell a whitening
//! matrix. docs/reference.md says how they are estimated and what this was measured to bring.

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{error::ModelError, tensor_check::require_f32};

const PROJECTION: &str = "position.projection";
const CENTRE: &str = "position.centre";
const WHITENING: &str = "position.whitening";
const WEIGHTS: &str = "position.weights";
/// Bounds for damaged files: patches along a side, and width of the whitened features.
const MOST: usize = 4096;

/// Sizes of the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionEnergyConfig {
    /// Rows of patches, h.
    pub rows: usize,
    /// Columns of patches, w.
    pub columns: usize,
    /// Patches along a side of a cell.
    pub cell: usize,
    /// Numbers of a patch that are whitened, d: the features' own, or a projection of them.
    pub dim: usize,
    /// Rows and columns of the tiles that a photograph is cut into; each tile has places and cells of its own.
    #[serde(default = "one_tile", skip_serializing_if = "is_one_tile")]
    pub tiles: [usize; 2],
}

/// The whole photograph.
pub const ONE_TILE: [usize; 2] = [1, 1];

fn one_tile() -> [usize; 2] {
    ONE_TILE
}

fn is_one_tile(tiles: &[usize; 2]) -> bool {
    *tiles == ONE_TILE
}

impl PositionEnergyConfig {
    /// Checks every number.
    ///
    /// # Errors
    /// `ModelError::Configuration` names those that cannot work.
    pub fn validate(&self) -> Result<(), ModelError> {
        let Self { rows, columns, cell, dim, tiles: [down, across] } = *self;
        if [rows, columns, cell, dim, down, across].iter().any(|n| !(1..=MOST).contains(n)) {
            return Err(ModelError::Configuration {
                what: "position energy",
                reason: format!(
                    "{rows} x {columns} patches in cells of {cell}, width {dim}, {down} x {across} tiles: each must lie \
                     between 1 and {MOST}"
                ),
            });
        }
        Ok(())
    }

    /// All tiles.
    pub fn tile_count(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    /// Cells along the grid's width.
    pub fn cell_columns(&self) -> usize {
        self.columns.div_ceil(self.cell)
    }

    /// All cells of a tile.
    pub fn cells(&self) -> usize {
        self.rows.div_ceil(self.cell) * self.cell_columns()
    }

    /// The cell of the patch at this row and column; cells are counted row by row.
    pub fn cell_of(&self, row: usize, column: usize) -> usize {
        row / self.cell * self.cell_columns() + column / self.cell
    }

    /// Numbers of a cell's lower triangle.
    pub fn triangle(&self) -> usize {
        self.dim * (self.dim + 1) / 2
    }

    /// Names and shapes of the tensors, for features of width D = `features`.
    pub fn tensor_specs(&self, features: usize) -> Vec<(String, Vec<usize>)> {
        let mut centre = vec![self.rows, self.columns, self.dim];
        if self.tiles != ONE_TILE {
            centre.insert(0, self.tile_count());
        }
        vec![
            (PROJECTION.into(), vec![self.dim, features]),
            (CENTRE.into(), centre),
            (WHITENING.into(), vec![self.tile_count() * self.cells(), self.triangle()]),
            (WEIGHTS.into(), vec![3]),
        ]
    }
}

/// How the discriminator's score and the energy become one patch score: `head` · score + `energy` · energy + `offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreWeights {
    /// Of the discriminator's score.
    pub head: f32,
    /// Of the energy.
    pub energy: f32,
    /// Added.
    pub offset: f32,
}

impl ScoreWeights {
    /// The patch score.
    pub fn join(&self, head: f32, energy: f32) -> f32 {
        self.head * head + self.energy * energy + self.offset
    }
}

/// The statistics of every place.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionEnergy {
    /// Sizes.
    pub config: PositionEnergyConfig,
    /// What is whitened is `projection` · feature: (d, D).
    pub projection: Vec<f32>,
    /// Means of the projected features, (tiles, h, w, d).
    pub centre: Vec<f32>,
    /// For each cell of each tile the inverse of the Cholesky factor of its covariance, (tiles, cells, d(d + 1)/2): the rows of
    /// the lower triangle one after another.
    pub whitening: Vec<f32>,
    /// How the energy joins the score.
    pub weights: ScoreWeights,
}

impl PositionEnergy {
    /// Checks that the numbers are as many as the sizes say, and finite.
    ///
    /// # Errors
    /// `ModelError::Configuration`.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.config.validate()?;
        let PositionEnergyConfig { rows, columns, dim, .. } = self.config;
        let tiles = self.config.tile_count();
        let sizes = [
            ("centre", &self.centre, tiles * rows * columns * dim),
            ("whitening", &self.whitening, tiles * self.config.cells() * self.config.triangle()),
            ("projection", &self.projection, dim * self.features()),
        ];
        let ScoreWeights { head, energy, offset } = self.weights;
        let invalid = |reason| Err(ModelError::Configuration { what: "position energy", reason });
        for (name, values, expected) in sizes {
            if values.len() != expected || values.is_empty() {
                return invalid(format!("{} numbers in its {name}, expected {expected}", values.len()));
            }
            if values.iter().any(|v| !v.is_finite()) {
                return invalid(format!("its {name} holds a number that is not finite"));
            }
        }
        if ![head, energy, offset].iter().all(|v| v.is_finite()) {
            return invalid(format!("its weights are {head}, {energy} and {offset}"));
        }
        Ok(())
    }

    /// Width of the features, D.
    pub fn features(&self) -> usize {
        self.projection.len() / self.config.dim.max(1)
    }

    /// Row `row` (from 0) of the lower triangle of a cell: `row + 1` numbers.
    pub fn whitening_row(&self, cell: usize, row: usize) -> &[f32] {
        let start = cell * self.config.triangle() + row * (row + 1) / 2;
        &self.whitening[start..=start + row]
    }

    /// The statistics of one tile alone: those of the first where there is no such tile.
    pub fn tile(&self, index: usize) -> Self {
        let config = PositionEnergyConfig { tiles: ONE_TILE, ..self.config };
        let of = |values: &[f32]| {
            let one = values.len() / self.config.tile_count().max(1);
            values.get(index * one..(index + 1) * one).unwrap_or(&values[..one]).to_vec()
        };
        Self {
            config,
            projection: self.projection.clone(),
            centre: of(&self.centre),
            whitening: of(&self.whitening),
            weights: self.weights,
        }
    }

    /// Features after the norm of an image of `rows` x `columns` patches, (rows · columns, D) -> energies
    /// (rows · columns), at the places of the first tile: [`PositionEnergy::tile`] gives the others. An image of fewer patches than the statistics know is taken for their upper left part.
    ///
    /// # Errors
    /// `ModelError::InputShape` for more patches a side, or another number of values.
    pub fn energies(&self, features: &[f32], rows: usize, columns: usize) -> Result<Vec<f32>, ModelError> {
        self.check_grid(rows, columns)?;
        let (width, dim) = (self.features(), self.config.dim);
        if features.len() != rows * columns * width {
            return Err(ModelError::InputShape {
                what: "position energy",
                expected: format!("{rows} x {columns} features of width {width}"),
                actual: vec![features.len()],
            });
        }
        let energy = |(place, feature): (usize, &[f32])| {
            let (row, column) = (place / columns, place % columns);
            let place = row * self.config.columns + column;
            let centre = &self.centre[place * dim..][..dim];
            let directions = self.projection.chunks_exact(width).zip(centre);
            let centred: Vec<f64> =
                directions.map(|(direction, &mean)| dot(direction, feature) - f64::from(mean)).collect();
            let cell = self.config.cell_of(row, column);
            let whitened = (0..dim).map(|i| -> f64 {
                self.whitening_row(cell, i).iter().zip(&centred).map(|(&w, x)| f64::from(w) * x).sum()
            });
            whitened.map(|z| z * z).sum::<f64>().sqrt() as f32
        };
        Ok(features.par_chunks_exact(width).enumerate().map(energy).collect())
    }

    /// An image must not have more patches a side than the statistics.
    ///
    /// # Errors
    /// `ModelError::InputShape`.
    pub fn check_grid(&self, rows: usize, columns: usize) -> Result<(), ModelError> {
        let (most_rows, most_columns) = (self.config.rows, self.config.columns);
        if rows > most_rows || columns > most_columns {
            return Err(ModelError::InputShape {
                what: "position energy",
                expected: format!(
                    "at most the {most_rows} x {most_columns} patches of the images it was made from; train with the \
                     new size"
                ),
                actual: vec![rows, columns],
            });
        }
        Ok(())
    }

    /// Takes the statistics out of a file's tensors; `origin` is used in errors only.
    ///
    /// # Errors
    /// A tensor that is missing, misshapen or not f32; numbers that are not finite.
    pub fn from_tensors(
        config: PositionEnergyConfig,
        features: usize,
        tensors: &HashMap<String, Tensor>,
        origin: &Path,
    ) -> Result<Self, ModelError> {
        config.validate()?;
        require_f32(&config.tensor_specs(features), tensors, origin)?;
        let values = |name: &str| -> Result<Vec<f32>, ModelError> {
            tensors.get(name).map_or(Ok(vec![]), |tensor| Ok(tensor.flatten_all()?.to_vec1::<f32>()?))
        };
        let weights = values(WEIGHTS)?;
        let weight = |i: usize| weights.get(i).copied().unwrap_or_default();
        let energy = Self {
            config,
            projection: values(PROJECTION)?,
            centre: values(CENTRE)?,
            whitening: values(WHITENING)?,
            weights: ScoreWeights { head: weight(0), energy: weight(1), offset: weight(2) },
        };
        energy.validate().map_err(|error| ModelError::InvalidFile {
            file: origin.to_path_buf(),
            reason: format!("its position statistics are unusable: {error}"),
        })?;
        Ok(energy)
    }

    /// The tensors under their names in a file.
    ///
    /// # Errors
    /// Out of memory.
    pub fn named_tensors(&self) -> Result<Vec<(String, Tensor)>, ModelError> {
        let ScoreWeights { head, energy, offset } = self.weights;
        let weights = [head, energy, offset];
        let values: [&[f32]; 4] = [&self.projection, &self.centre, &self.whitening, &weights];
        let specs = self.config.tensor_specs(self.features());
        let tensors = specs.into_iter().zip(values);
        tensors
            .map(|((name, shape), values)| Ok((name, Tensor::from_slice(values, shape, &Device::Cpu)?)))
            .collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::numbers;

    /// Statistics of these sizes, filled with small numbers.
    fn statistics(rows: usize, columns: usize, cell: usize, dim: usize, features: usize) -> PositionEnergy {
        let config = PositionEnergyConfig { rows, columns, cell, dim, tiles: ONE_TILE };
        PositionEnergy {
            config,
            projection: numbers(dim * features, 1),
            centre: numbers(rows * columns * dim, 2),
            whitening: numbers(config.cells() * config.triangle(), 3),
            weights: ScoreWeights { head: 0.5, energy: 2.0, offset: -1.0 },
        }
    }

    #[test]
    fn energies_are_lengths_of_whitened_offsets() {
        // Two patches in cells of one: z = (2 x0 - 1, 3 x0 + x1) at the first place.
        let config = PositionEnergyConfig { rows: 1, columns: 2, cell: 1, dim: 2, tiles: ONE_TILE };
        let energy = PositionEnergy {
            config,
            projection: vec![1.0, 0.0, 0.0, 1.0],
            centre: vec![0.5, -1.5, 1.0, 1.0],
            whitening: vec![2.0, 3.0, 1.0, 1.0, 0.0, 1.0],
            weights: ScoreWeights { head: 1.0, energy: 1.0, offset: 0.0 },
        };
        energy.validate().unwrap();
        let got = energy.energies(&[1.0, 1.0, 1.0, 2.0], 1, 2).unwrap();
        assert_eq!(got, [(1.0f32 + 16.0).sqrt(), 1.0]);
        // A narrower image: the left part.
        assert_eq!(energy.energies(&[1.0, 1.0], 1, 1).unwrap(), got[..1]);
        assert_eq!(energy.weights.join(3.0, 2.0), 5.0);
    }

    #[test]
    fn each_tile_has_statistics_of_its_own() {
        let one = |seed: u32| {
            let mut one = statistics(2, 3, 2, 4, 4);
            one.centre = numbers(2 * 3 * 4, seed);
            one.whitening = numbers(2 * 10, seed + 100);
            one
        };
        let tiles = [one(10), one(20), one(30), one(40), one(50), one(60)];
        let all = |of: fn(&PositionEnergy) -> &Vec<f32>| tiles.iter().flat_map(of).copied().collect();
        let config = PositionEnergyConfig { tiles: [2, 3], ..tiles[0].config };
        let joined = PositionEnergy {
            config,
            centre: all(|tile| &tile.centre),
            whitening: all(|tile| &tile.whitening),
            ..tiles[0].clone()
        };
        joined.validate().unwrap();
        for (i, tile) in tiles.iter().enumerate() {
            assert_eq!(&joined.tile(i), tile, "tile {i}");
        }
        let tensors: HashMap<_, _> = joined.named_tensors().unwrap().into_iter().collect();
        assert_eq!(tensors[CENTRE].dims(), [6, 2, 3, 4]);
        assert_eq!(PositionEnergy::from_tensors(config, 4, &tensors, Path::new("m")).unwrap(), joined);
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains("\"tiles\":[2,3]"), "{text}");
        let old = serde_json::to_string(&tiles[0].config).unwrap();
        assert!(
            !old.contains("tiles")
                && serde_json::from_str::<PositionEnergyConfig>(&old).unwrap() == tiles[0].config
        );
        let fewer = PositionEnergy { config: tiles[0].config, ..joined };
        assert!(fewer.validate().is_err());
    }

    #[test]
    fn tensors_come_back_and_damage_is_named() {
        let energy = statistics(5, 7, 3, 4, 6);
        let tensors: HashMap<_, _> = energy.named_tensors().unwrap().into_iter().collect();
        let read =
            |tensors: &_| PositionEnergy::from_tensors(energy.config, 6, tensors, Path::new("m.safetensors"));
        assert_eq!(read(&tensors).unwrap(), energy);
        for name in tensors.keys() {
            let mut fewer = tensors.clone();
            fewer.remove(name);
            let error = read(&fewer).unwrap_err().to_string();
            assert!(error.contains(name.as_str()), "{error}");
        }
        let broken = PositionEnergy { centre: vec![f32::NAN; 5 * 7 * 4], ..energy.clone() };
        let error = broken.validate().unwrap_err().to_string();
        assert!(error.contains("centre"), "{error}");
        for (rows, columns) in [(6, 7), (5, 8)] {
            let error = energy.energies(&[], rows, columns).unwrap_err().to_string();
            assert!(error.contains("5 x 7"), "{error}");
        }
        assert!(energy.energies(&[0.0; 5], 5, 7).is_err());
    }
}
