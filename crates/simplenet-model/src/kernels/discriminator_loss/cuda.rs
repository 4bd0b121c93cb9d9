//! The launches of `discriminator_loss.cu`.

use super::{Cost, DiscriminatorLoss};
use crate::kernels::cuda::{Argument, Launch, blocks, u32_of};

/// Rows a block of a sum, and columns a block of threads: `ROWS` and `COLUMNS` of the kernels.
const ROWS: usize = 64;
const COLUMNS: usize = 128;
const THREADS: u32 = 256;
/// Logits that a block of threads works on at once: a warp each.
const LOGITS: u32 = THREADS / 32;

/// What is computed on the way, (f32, f64).
pub(super) struct Scratch {
    pub(super) floats: usize,
    pub(super) doubles: usize,
}

/// Where inputs, outputs and scratch lie.
pub(super) struct Addresses {
    pub(super) hidden: u64,
    pub(super) parameters: u64,
    pub(super) running: u64,
    /// (rows · width) and [`super::len_behind`] numbers.
    pub(super) out: u64,
    pub(super) floats: u64,
    pub(super) doubles: u64,
}

pub(super) fn scratch(config: &DiscriminatorLoss, rows: usize, width: usize) -> Scratch {
    let partial = 3 * rows.div_ceil(ROWS) * width;
    Scratch { floats: partial + 2 * width + 3 * rows * config.discriminators, doubles: width }
}

/// The most rows: blocks of rows lie along a grid's y.
#[cfg(feature = "cuda")]
pub(super) const MOST_ROWS: usize = 65_535 * ROWS;

/// All of them, in order.
pub(super) fn launches(config: &DiscriminatorLoss, rows: usize, width: usize, at: &Addresses) -> Vec<Launch> {
    let row_blocks = rows.div_ceil(ROWS);
    let logits = rows * config.discriminators;
    let after = |start: u64, numbers: usize| start + 4 * numbers as u64;
    let partial = at.floats;
    let norm = after(partial, 3 * row_blocks * width);
    let costs = after(norm, 2 * width);
    let told = after(costs, logits);
    let slopes = after(told, logits);
    let gradients = after(at.out, rows * width);
    let running = after(gradients, 3 * width);
    let outcome = after(running, 2 * width);

    let columns = width.div_ceil(COLUMNS) as u32;
    let by_column = [columns, 1, 1];
    let by_block = [columns, row_blocks as u32, 1];
    let launch = |kernel, grid, threads, addresses: &[u64], rest: &[Argument]| Launch {
        op: "discriminator_loss",
        kernel,
        grid,
        threads,
        shared_bytes: 0,
        arguments: addresses.iter().map(|&a| Argument::Address(a)).chain(rest.iter().copied()).collect(),
    };
    let [rows_, width_, blocks_] = [rows, width, row_blocks].map(u32_of);
    let count = u32_of(config.discriminators);
    let leaky = Argument::F32(config.leaky_slope);
    let f64s = [config.norm_epsilon, config.norm_momentum].map(Argument::F64);
    let of_columns = COLUMNS as u32;
    vec![
        launch("loss_column_sums", by_block, of_columns, &[at.hidden, partial], &[rows_, width_]),
        launch("loss_column_means", by_column, of_columns, &[partial, at.doubles], &[blocks_, rows_, width_]),
        launch(
            "loss_column_squares",
            by_block,
            of_columns,
            &[at.hidden, at.doubles, partial],
            &[rows_, width_],
        ),
        launch(
            "loss_column_norms",
            by_column,
            of_columns,
            &[partial, at.doubles, at.running, norm, running],
            &[blocks_, rows_, width_, f64s[0], f64s[1]],
        ),
        launch(
            "loss_logits",
            [blocks(logits, LOGITS), 1, 1],
            THREADS,
            &[at.hidden, at.parameters, norm, costs, told, slopes],
            &[
                rows_,
                width_,
                count,
                Argument::F32(config.margin),
                leaky,
                Argument::U32(u32::from(config.cost == Cost::CrossEntropy)),
            ],
        ),
        launch("loss_outcome", [1, 1, 1], THREADS, &[costs, told, outcome], &[u32_of(logits)]),
        launch(
            "loss_gradient_sums",
            by_block,
            of_columns,
            &[at.hidden, at.parameters, norm, slopes, partial],
            &[rows_, width_, count, leaky],
        ),
        launch(
            "loss_gradient_totals",
            [(3 * width).div_ceil(COLUMNS) as u32, 1, 1],
            of_columns,
            &[partial, gradients],
            &[blocks_, width_],
        ),
        launch(
            "loss_hidden_gradient",
            [blocks(rows * width, THREADS), 1, 1],
            THREADS,
            &[at.hidden, at.parameters, norm, slopes, gradients, at.out],
            &[rows_, width_, count, leaky],
        ),
    ]
}
