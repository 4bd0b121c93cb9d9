// Anomaly maps: out = R S C', with R (H, h) and C (W, w) the resize and the Gaussian of the rows and of the columns in one,
// banded. scores (B, h, w), out (B, H, W), all f32.
//
// A block makes 16 rows by 32 columns. It goes over the rows of scores that its own rows need, 16 at a time: these across
// (S C') into shared memory, a barrier, and their shares in its rows. A band's first index and length lie in a table, its
// weights one below the other for neighbouring outputs. Nothing outside of a band is multiplied by zero: NaN stays where the
// bands carry it.
#include "common.cuh"

static const int COLUMNS = 32, GROUPS = 8, ROWS_A_THREAD = 2, ROUND = 16;

KERNEL(256, anomaly_map)(const float *scores, float *out, const uint2 *rows, const float *row_weights, const uint2 *columns,
                         const float *column_weights, unsigned height, unsigned width, unsigned out_height, unsigned out_width) {
    DYN_SHARED(float, across);  // (ROUND, COLUMNS)
    const int lane = threadIdx.x % COLUMNS, group = threadIdx.x / COLUMNS;
    const unsigned tiles_across = (out_width + COLUMNS - 1) / COLUMNS, tile_rows = GROUPS * ROWS_A_THREAD;
    const unsigned tiles_down = (out_height + tile_rows - 1) / tile_rows, tile = blockIdx.x / tiles_across;
    const unsigned x = blockIdx.x % tiles_across * COLUMNS + lane, top = tile % tiles_down * tile_rows;
    const size_t image = tile / tiles_down;
    scores += image * height * width;
    out += image * out_height * out_width;

    // First and length of a band. Bands begin and end no earlier than the one before.
    const uint2 column = x < out_width ? columns[x] : uint2{0, 0};
    const uint2 last_row = rows[min(top + tile_rows, out_height) - 1];
    const unsigned begin = rows[top].x, end = last_row.x + last_row.y;
    uint2 row[ROWS_A_THREAD];
    float sums[ROWS_A_THREAD];
    for (int i = 0; i < ROWS_A_THREAD; i++) {
        const unsigned y = top + group + i * GROUPS;
        row[i] = y < out_height ? rows[y] : uint2{0, 0};
        sums[i] = 0.0f;
    }
    for (unsigned from = begin; from < end; from += ROUND) {
        const unsigned until = min(from + ROUND, end);
        for (unsigned k = from + group; k < until; k += GROUPS) {
            const float *line = scores + size_t(k) * width + column.x;
            float sum = 0.0f;
            for (unsigned j = 0; j < column.y; j++)
                sum = __fmaf_rn(column_weights[size_t(j) * out_width + x], line[j], sum);
            across[(k - from) * COLUMNS + lane] = sum;
        }
        __syncthreads();
        for (int i = 0; i < ROWS_A_THREAD; i++) {
            const unsigned y = top + group + i * GROUPS, first = max(from, row[i].x), last = min(until, row[i].x + row[i].y);
            for (unsigned k = first; k < last; k++)
                sums[i] = __fmaf_rn(row_weights[size_t(k - row[i].x) * out_height + y], across[(k - from) * COLUMNS + lane], sums[i]);
        }
        __syncthreads();
    }
    for (int i = 0; i < ROWS_A_THREAD; i++) {
        const unsigned y = top + group + i * GROUPS;
        if (y < out_height && x < out_width) out[size_t(y) * out_width + x] = sums[i];
    }
}
