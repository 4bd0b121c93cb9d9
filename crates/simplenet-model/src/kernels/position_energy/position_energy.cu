// Position energies joined with the scores: for every patch, with m the mean at its place and W its cell's whitening,
// lower triangular:
//   out = head * score + energy * |W (x - m)| + offset
// x (B, h, w, stride) of which the first dim are read, scores and out (B, h, w), all f32.
//
// A block makes ROWS patches of one cell, of one image or several. Centred patches lie in shared memory, one number of all
// patches side by side, BLOCK numbers at a time. A thread makes one output of all patches: it reads a weight once for all.
// Whitening lies in blocks of 32 columns, each with the outputs from the block's first on: what a warp reads at once begins
// at 128 bytes. The sum of squares goes over a thread's outputs, over the warp's lanes in a tree, over the warps in order.
#include "common.cuh"

static const int ROWS = 12;    // a cell of 3 x 3 patches, in whole vectors of 4
static const int BLOCK = 32;   // columns that lie together; lanes of a warp

KERNEL(512, position_energy)(const float *x, const float *scores, const float *means, const float *whitening, float *out,
                             unsigned batch, unsigned height, unsigned width, unsigned stride, unsigned dim, unsigned cell,
                             unsigned known_rows, unsigned known_columns, float head, float energy, float offset) {
    DYN_SHARED(float, centred);                // (BLOCK, ROWS)
    float *of_warps = centred + BLOCK * ROWS;  // (warps, ROWS)
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const unsigned padded = (dim + BLOCK - 1) / BLOCK * BLOCK;

    // The cell, as far as these images have it, and this block's part of its patches in all images.
    const unsigned cells_across = (width + cell - 1) / cell;
    const unsigned most = batch * min(cell, height) * min(cell, width), parts = (most + ROWS - 1) / ROWS;
    const unsigned part = blockIdx.x % parts, cell_x = blockIdx.x / parts % cells_across, cell_y = blockIdx.x / parts / cells_across;
    const unsigned left = cell_x * cell, top = cell_y * cell;
    const unsigned columns = min(cell, width - left), places = columns * min(cell, height - top);
    const unsigned first = part * ROWS, patches = batch * places;
    if (first >= patches) return;
    const unsigned known_across = (known_columns + cell - 1) / cell;
    const size_t cell_numbers = size_t(padded) * (padded + BLOCK) / 2;
    const float *matrix = whitening + (size_t(cell_y) * known_across + cell_x) * cell_numbers;

    float squares[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) squares[r] = 0.0f;
    // Outputs as many as the block has threads at a time.
    for (unsigned start = 0; start < padded; start += blockDim.x) {
        const unsigned output = start + threadIdx.x, end = min(start + blockDim.x, padded);
        float sums[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) sums[r] = 0.0f;
        const float *columns_of_block = matrix;
        for (unsigned from = 0; from < end; from += BLOCK) {
            __syncthreads();
            for (unsigned i = threadIdx.x; i < ROWS * BLOCK; i += blockDim.x) {
                const unsigned r = i / BLOCK, k = from + i % BLOCK, patch = first + r;
                float number = 0.0f;
                if (patch < patches && k < dim) {
                    const unsigned image = patch / places, place = patch % places;
                    const unsigned y = top + place / columns, at = left + place % columns;
                    number = x[((size_t(image) * height + y) * width + at) * stride + k] -
                             means[(size_t(y) * known_columns + at) * dim + k];
                }
                centred[i % BLOCK * ROWS + r] = number;
            }
            __syncthreads();
            const unsigned below = padded - from;  // outputs that these columns have
            if (output >= from && output < padded) {
                const float *weights = columns_of_block + (output - from);
#pragma unroll 16
                for (int k = 0; k < BLOCK; k++) {
                    const float weight = weights[k * below];
                    const Pack<float, 4> *numbers = reinterpret_cast<const Pack<float, 4> *>(centred + k * ROWS);
#pragma unroll
                    for (int r = 0; r < ROWS; r += 4) {
                        const Pack<float, 4> four = numbers[r / 4];
                        for (int j = 0; j < 4; j++) sums[r + j] = __fmaf_rn(weight, four.v[j], sums[r + j]);
                    }
                }
            }
            columns_of_block += size_t(BLOCK) * below;
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) squares[r] = __fmaf_rn(sums[r], sums[r], squares[r]);
    }

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float sum = squares[r];
        for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(~0u, sum, mask);
        if (lane == 0) of_warps[warp * ROWS + r] = sum;
    }
    __syncthreads();
    const unsigned patch = first + threadIdx.x;
    if (threadIdx.x >= ROWS || patch >= patches) return;
    float sum = 0.0f;
    for (unsigned w = 0; w < blockDim.x / 32; w++) sum += of_warps[w * ROWS + threadIdx.x];
    const unsigned image = patch / places, place = patch % places;
    const size_t at = (size_t(image) * height + top + place / columns) * width + left + place % columns;
    out[at] = __fadd_rn(__fadd_rn(__fmul_rn(head, scores[at]), __fmul_rn(energy, __fsqrt_rn(sum))), offset);
}
