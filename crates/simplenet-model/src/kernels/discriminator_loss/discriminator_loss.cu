// Batch norm, LeakyReLU, last layer and loss of a training step, and their gradients: mod.rs has the formula. Rows are
// n of normal features and n of anomalous ones. Sums over rows: 64 rows a block in f32, blocks in order; nothing is added
// atomically. Products and sums are joined nowhere that decides on which side of zero a number lies.
#include "common.cuh"

#define ROWS 64u
#define COLUMNS 128u


__device__ __forceinline__ float normalised(float x, float mean, float inverse) {
    return __fmul_rn(__fsub_rn(x, mean), inverse);
}
__device__ __forceinline__ float before_relu(float x, float gamma, float beta) { return __fadd_rn(__fmul_rn(gamma, x), beta); }

// partial (blocks, width): the sum of a block of rows, of x or of its squared distance from the column's mean.
template <bool SQUARES>
__device__ void column_sums(const float *x, const double *mean, float *partial, unsigned rows, unsigned width) {
    const unsigned column = blockIdx.x * COLUMNS + threadIdx.x;
    if (column >= width) return;
    const float centre = SQUARES ? float(mean[column]) : 0.0f;
    const unsigned end = min(rows, (blockIdx.y + 1) * ROWS);
    float sum = 0.0f;
    for (unsigned row = blockIdx.y * ROWS; row < end; row++) {
        const float value = x[size_t(row) * width + column];
        const float away = __fsub_rn(value, centre);
        sum = __fadd_rn(sum, SQUARES ? __fmul_rn(away, away) : value);
    }
    partial[size_t(blockIdx.y) * width + column] = sum;
}

__device__ __forceinline__ double total_of(const float *partial, unsigned blocks, unsigned width, unsigned column) {
    double total = 0.0;
    for (unsigned block = 0; block < blocks; block++) total += double(partial[size_t(block) * width + column]);
    return total;
}

KERNEL(128, loss_column_sums)(const float *x, float *partial, unsigned rows, unsigned width) {
    column_sums<false>(x, nullptr, partial, rows, width);
}

KERNEL(128, loss_column_squares)(const float *x, const double *mean, float *partial, unsigned rows, unsigned width) {
    column_sums<true>(x, mean, partial, rows, width);
}

KERNEL(128, loss_column_means)(const float *partial, double *mean, unsigned blocks, unsigned rows, unsigned width) {
    const unsigned column = blockIdx.x * COLUMNS + threadIdx.x;
    if (column < width) mean[column] = total_of(partial, blocks, width, column) / double(rows);
}

// norm (2, width): mean and 1 / sqrt(variance + epsilon). running (2, width) -> next_running.
KERNEL(128, loss_column_norms)(const float *partial, const double *mean, const float *running, float *norm, float *next_running,
                               unsigned blocks, unsigned rows, unsigned width, double epsilon, double momentum) {
    const unsigned column = blockIdx.x * COLUMNS + threadIdx.x;
    if (column >= width) return;
    const double variance = total_of(partial, blocks, width, column) / double(rows);
    norm[column] = float(mean[column]);
    norm[width + column] = float(1.0 / sqrt(variance + epsilon));
    const double unbiased = rows > 1 ? double(rows) / (double(rows) - 1.0) : 1.0;
    next_running[column] = float(double(running[column]) * (1.0 - momentum) + momentum * mean[column]);
    next_running[width + column] =
        float(double(running[width + column]) * (1.0 - momentum) + momentum * variance * unbiased);
}

// One warp a logit: what it costs, whether it is told apart (1 or 0), and the slope of the loss there; each
// (rows, discriminators).
KERNEL(256, loss_logits)(const float *x, const float *parameters, const float *norm, float *costs, float *told, float *slopes,
                         unsigned rows, unsigned width, unsigned discriminators, float margin, float leaky_slope,
                         unsigned cross_entropy) {
    const unsigned lane = threadIdx.x % 32, part = width / discriminators, logits = rows * discriminators;
    const float *const gamma = parameters, *const beta = gamma + width, *const tail = beta + width;
    const float share = 1.0f / float(rows / 2);
    for (unsigned i = blockIdx.x * 8 + threadIdx.x / 32; i < logits; i += gridDim.x * 8) {
        const unsigned row = i / discriminators, first = i % discriminators * part;
        const float *const values = x + size_t(row) * width;
        float sum = 0.0f;
        for (unsigned column = first + lane; column < first + part; column += 32) {
            const float u = before_relu(normalised(values[column], norm[column], norm[width + column]), gamma[column],
                                        beta[column]);
            sum += tail[column] * (u > 0.0f ? u : leaky_slope * u);
        }
        for (int distance = 16; distance; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
        if (lane) continue;
        const bool normal = row < rows / 2;
        const float wrong = normal ? -sum : sum, excess = margin + wrong;
        float cost, rise;
        if (cross_entropy) {  // by way of e^-|z|, which does not overflow
            const float small = expf(-fabsf(wrong));
            rise = (wrong > 0.0f ? 1.0f : small) / (1.0f + small);
            cost = (wrong > 0.0f ? wrong : 0.0f) + log1pf(small);
        } else {  // what is not a number costs what is not a number
            cost = excess <= 0.0f ? 0.0f : excess;
            rise = excess <= 0.0f ? 0.0f : 1.0f;
        }
        costs[i] = cost;
        told[i] = normal ? (excess <= 0.0f ? 1.0f : 0.0f) : (excess < 0.0f ? 1.0f : 0.0f);
        slopes[i] = (normal ? -share : share) * rise;
    }
}

// outcome: mean cost and both shares. One block.
KERNEL(256, loss_outcome)(const float *costs, const float *told, float *outcome, unsigned logits) {
    __shared__ double sums[3][256];
    double cost = 0.0, normal = 0.0, anomalous = 0.0;
    for (unsigned i = threadIdx.x; i < logits; i += 256) {
        cost += double(costs[i]);
        (i < logits / 2 ? normal : anomalous) += double(told[i]);
    }
    sums[0][threadIdx.x] = cost;
    sums[1][threadIdx.x] = normal;
    sums[2][threadIdx.x] = anomalous;
    for (unsigned half = 128; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            for (int s = 0; s < 3; s++) sums[s][threadIdx.x] += sums[s][threadIdx.x + half];
    }
    __syncthreads();
    if (threadIdx.x < 3) outcome[threadIdx.x] = float(sums[threadIdx.x][0] / double(logits / 2));
}

// partial (3, blocks, width): a block of rows' share of the gradients of gamma, beta and tail.
KERNEL(128, loss_gradient_sums)(const float *x, const float *parameters, const float *norm, const float *slopes,
                                float *partial, unsigned rows, unsigned width, unsigned discriminators, float leaky_slope) {
    const unsigned column = blockIdx.x * COLUMNS + threadIdx.x, blocks = gridDim.y;
    if (column >= width) return;
    const unsigned own = column / (width / discriminators);
    const float gamma = parameters[column], beta = parameters[width + column], tail = parameters[2 * width + column];
    const float mean = norm[column], inverse = norm[width + column];
    const unsigned end = min(rows, (blockIdx.y + 1) * ROWS);
    float to_gamma = 0.0f, to_beta = 0.0f, to_tail = 0.0f;
    for (unsigned row = blockIdx.y * ROWS; row < end; row++) {
        const float slope = slopes[size_t(row) * discriminators + own];
        const float value = normalised(x[size_t(row) * width + column], mean, inverse);
        const float u = before_relu(value, gamma, beta), factor = u > 0.0f ? 1.0f : leaky_slope;
        const float du = slope * tail * factor;
        to_tail += slope * u * factor;
        to_beta += du;
        to_gamma += du * value;
    }
    float *const to = partial + size_t(blockIdx.y) * width + column;
    to[0] = to_gamma;
    to[size_t(blocks) * width] = to_beta;
    to[2 * size_t(blocks) * width] = to_tail;
}

// gradients (3, width)
KERNEL(128, loss_gradient_totals)(const float *partial, float *gradients, unsigned blocks, unsigned width) {
    const unsigned i = blockIdx.x * COLUMNS + threadIdx.x;
    if (i >= 3 * width) return;
    const float *const of_one = partial + size_t(i / width) * blocks * width;
    float total = 0.0f;
    for (unsigned block = 0; block < blocks; block++) total += of_one[size_t(block) * width + i % width];
    gradients[i] = total;
}

// out (rows, width): the gradient of the hidden layer.
KERNEL(256, loss_hidden_gradient)(const float *x, const float *parameters, const float *norm, const float *slopes,
                                  const float *gradients, float *out, unsigned rows, unsigned width, unsigned discriminators,
                                  float leaky_slope) {
    const unsigned count = rows * width, part = width / discriminators;
    const float rows_inverse = 1.0f / float(rows);
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const unsigned column = i % width, row = i / width;
        const float gamma = parameters[column], inverse = norm[width + column];
        const float value = normalised(x[i], norm[column], inverse);
        const float u = before_relu(value, gamma, parameters[width + column]), factor = u > 0.0f ? 1.0f : leaky_slope;
        const float slope = slopes[size_t(row) * discriminators + column / part];
        const float du = slope * parameters[2 * width + column] * factor;
        const float mean_du = gradients[width + column] * rows_inverse, mean_du_x = gradients[column] * rows_inverse;
        out[i] = gamma * inverse * (du - mean_du - value * mean_du_x);
    }
}
