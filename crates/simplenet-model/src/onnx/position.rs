//! The position-aware half as nodes: the grid is cut into its cells, and all cells are whitened by one batched product. In:
//! projected features (N, d, h, w). Out: energies (N, 1, h, w).

use super::graph::{Attribute, Edge, Graph};
use crate::position_energy::PositionEnergy;

/// Adds the distances from what is normal at each place of a grid that the statistics know.
pub(super) fn add(
    graph: &mut Graph,
    energy: &PositionEnergy,
    projected: &Edge,
    [rows, columns]: [usize; 2],
) -> Edge {
    let config = energy.config;
    let (cell, dim) = (config.cell, config.dim);
    let centre: Vec<f32> = (0..dim)
        .flat_map(|d| {
            (0..rows).flat_map(move |row| {
                (0..columns).map(move |column| energy.centre[(row * config.columns + column) * dim + d])
            })
        })
        .collect();
    let centre = graph.floats(&centre, &[1, dim, rows, columns]);
    let centred = graph.node("Sub", &[projected, &centre], &[]);

    // Whole cells: what is added is cut off again.
    let (down, across) = (rows.div_ceil(cell), columns.div_ceil(cell));
    let whole = [down * cell, across * cell];
    let missing = [whole[0] - rows, whole[1] - columns].map(|n| n as i64);
    let centred = match missing {
        [0, 0] => centred,
        [below, right] => {
            let pads = graph.integers(&[0, 0, 0, 0, 0, 0, below, right]);
            graph.node("Pad", &[&centred, &pads], &[])
        }
    };
    let cut = graph.reshape(&centred, &[dim, down, cell, across, cell]);
    let cut = graph.transpose(&cut, &[0, 2, 4, 3, 5, 1]);
    let cut = graph.reshape(&cut, &[down * across, cell * cell, dim]);
    let whitening = graph.floats(&whitening(energy, [down, across]), &[1, down * across, dim, dim]);
    let whitened = graph.node("MatMul", &[&cut, &whitening], &[]);
    let energies = graph.node(
        "ReduceL2",
        &[&whitened],
        &[("axes", Attribute::Ints(&[3])), ("keepdims", Attribute::Int(0))],
    );
    let joined = graph.reshape(&energies, &[down, across, cell, cell]);
    let joined = graph.transpose(&joined, &[0, 1, 3, 2, 4]);
    let joined = graph.reshape(&joined, &[1, whole[0], whole[1]]);
    if missing == [0, 0] {
        return joined;
    }
    let (starts, ends) = (graph.integers(&[0, 0]), graph.integers(&[rows as i64, columns as i64]));
    let axes = graph.integers(&[2, 3]);
    graph.node("Slice", &[&joined, &starts, &ends, &axes], &[])
}

/// (cells, d, d): of each cell the transposed whitening, so that rows of features are multiplied by it.
fn whitening(energy: &PositionEnergy, [down, across]: [usize; 2]) -> Vec<f32> {
    let config = energy.config;
    let (cell, dim) = (config.cell, config.dim);
    let mut all = vec![0.0; down * across * dim * dim];
    for (place, matrix) in all.chunks_exact_mut(dim * dim).enumerate() {
        let of_cell = config.cell_of(place / across * cell, place % across * cell);
        for to in 0..dim {
            for (from, &weight) in energy.whitening_row(of_cell, to).iter().enumerate() {
                matrix[from * dim + to] = weight;
            }
        }
    }
    all
}
