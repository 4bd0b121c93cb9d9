// Depthwise convolution of planar maps with the activations around it: out = clip(sum of weight clip(x + input_bias) + bias),
// zeros outside of the map after its activation; kernel 3 or 5, stride 1 or 2. x (B, C, H, W), out (B, C, h, w) f32; numbers:
// weight (C, k, k), bias (C), input_bias (C), one behind the other. One thread makes up to 4 rows of one output column, so that
// it reads a pixel once for all of them and neighbours read side by side. Taps are summed in the order of ky, then kx.
#include "common.cuh"

template <int K, int S>
__device__ __forceinline__ void depthwise_conv(const float *x, const float *numbers, float *out, unsigned pieces,
                                               unsigned channels, unsigned height, unsigned width, unsigned out_height,
                                               unsigned out_width, unsigned above, unsigned left, float limit) {
    const int ROWS = 4;
    const unsigned blocks = (out_height + ROWS - 1) / ROWS;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < pieces; i += gridDim.x * blockDim.x) {
        const unsigned ox = i % out_width, oy = i / out_width % blocks * ROWS, plane = i / out_width / blocks;
        const unsigned channel = plane % channels;
        const float bias = numbers[channels * K * K + channel], input_bias = numbers[channels * (K * K + 1) + channel];
        float weights[K * K], sums[ROWS];
#pragma unroll
        for (int tap = 0; tap < K * K; tap++) weights[tap] = numbers[channel * K * K + tap];
#pragma unroll
        for (int r = 0; r < ROWS; r++) sums[r] = bias;

        const int first_row = int(oy * S) - int(above), first_column = int(ox * S) - int(left);
        const float *from = x + size_t(plane) * height * width;
#pragma unroll
        for (int row = 0; row < (ROWS - 1) * S + K; row++) {
            const int y = first_row + row;
#pragma unroll
            for (int kx = 0; kx < K; kx++) {
                const int column = first_column + kx;
                float v = 0.0f;
                if (y >= 0 && y < int(height) && column >= 0 && column < int(width))
                    v = clamped(__fadd_rn(from[unsigned(y) * width + column], input_bias), 0.0f, limit);
#pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    const int ky = row - r * S;
                    if (ky < 0 || ky >= K) continue;
                    sums[r] = __fmaf_rn(weights[ky * K + kx], v, sums[r]);
                }
            }
        }

        float *to = out + (size_t(plane) * out_height + oy) * out_width + ox;
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if (oy + r < out_height) to[unsigned(r) * out_width] = clamped(sums[r], 0.0f, limit);
    }
}

KERNEL(128, depthwise_conv_3_1)(const float *x, const float *numbers, float *out, unsigned pieces, unsigned channels,
                               unsigned height, unsigned width, unsigned out_height, unsigned out_width, unsigned above,
                               unsigned left, float limit) {
    depthwise_conv<3, 1>(x, numbers, out, pieces, channels, height, width, out_height, out_width, above, left, limit);
}

KERNEL(128, depthwise_conv_3_2)(const float *x, const float *numbers, float *out, unsigned pieces, unsigned channels,
                               unsigned height, unsigned width, unsigned out_height, unsigned out_width, unsigned above,
                               unsigned left, float limit) {
    depthwise_conv<3, 2>(x, numbers, out, pieces, channels, height, width, out_height, out_width, above, left, limit);
}

KERNEL(128, depthwise_conv_5_1)(const float *x, const float *numbers, float *out, unsigned pieces, unsigned channels,
                               unsigned height, unsigned width, unsigned out_height, unsigned out_width, unsigned above,
                               unsigned left, float limit) {
    depthwise_conv<5, 1>(x, numbers, out, pieces, channels, height, width, out_height, out_width, above, left, limit);
}

KERNEL(128, depthwise_conv_5_2)(const float *x, const float *numbers, float *out, unsigned pieces, unsigned channels,
                               unsigned height, unsigned width, unsigned out_height, unsigned out_width, unsigned above,
                               unsigned left, float limit) {
    depthwise_conv<5, 2>(x, numbers, out, pieces, channels, height, width, out_height, out_width, above, left, limit);
}
