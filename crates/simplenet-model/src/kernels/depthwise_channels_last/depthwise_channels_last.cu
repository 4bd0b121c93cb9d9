// Depthwise convolution of channels-last activations: out = clip(sum of weight x + bias), kernel 3 or 5 and stride 1 or 2, or kernel 7 and stride 1.
// x (B, H, W, C), out (B, h, w, C); weight (k k, C) and bias (C) f32; C a multiple of 8. One thread makes 16 bytes of channels
// of up to 4 output columns of a row, so that neighbours share what they read. Taps are summed in the order of ky, then kx.
#include "common.cuh"

// N numbers from 16-byte loads.
template <int N> __device__ __forceinline__ void load_floats(float (&to)[N], const float *from) {
#pragma unroll
    for (int j = 0; j < N; j += 4) {
        const Pack<float, 4> four = *reinterpret_cast<const Pack<float, 4> *>(from + j);
#pragma unroll
        for (int i = 0; i < 4; i++) to[j + i] = four.v[i];
    }
}

template <class T, int K, int S>
__device__ __forceinline__ void depthwise(const T *x, const float *weight, const float *bias, T *out, unsigned pieces,
                                          unsigned height, unsigned width, unsigned out_height, unsigned out_width,
                                          unsigned channels, unsigned above, unsigned left, float low, float high) {
    const int N = PerVector<T>::value, COLUMNS = 4;
    using Vector = Pack<T, N>;
    const unsigned per_pixel = channels / N, blocks = (out_width + COLUMNS - 1) / COLUMNS;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < pieces; i += gridDim.x * blockDim.x) {
        const unsigned channel = i % per_pixel * N, block = i / per_pixel;
        const unsigned ox = block % blocks * COLUMNS, row = block / blocks;  // row of the whole batch
        const unsigned oy = row % out_height, b = row / out_height;
        const int first_row = int(oy * S) - int(above), first_column = int(ox * S) - int(left);

        float sums[COLUMNS][N], shift[N];
        load_floats(shift, bias + channel);
#pragma unroll
        for (int t = 0; t < COLUMNS; t++)
#pragma unroll
            for (int j = 0; j < N; j++) sums[t][j] = shift[j];

#pragma unroll 1
        for (int ky = 0; ky < K; ky++) {
            const int y = first_row + ky;
            if (y < 0 || y >= int(height)) continue;
            float weights[K][N];
#pragma unroll
            for (int kx = 0; kx < K; kx++) load_floats(weights[kx], weight + unsigned(ky * K + kx) * channels + channel);
            const T *line = x + (size_t(b) * height + y) * width * channels + channel;
#pragma unroll
            for (int c = 0; c < (COLUMNS - 1) * S + K; c++) {
                const int column = first_column + c;
                // Zeros and no branch, so that the loads of a row are all under way together.
                Vector v = {};
                if (column >= 0 && column < int(width)) v = *reinterpret_cast<const Vector *>(line + unsigned(column) * channels);
#pragma unroll
                for (int t = 0; t < COLUMNS; t++) {
                    const int kx = c - t * S;
                    if (kx < 0 || kx >= K) continue;
#pragma unroll
                    for (int j = 0; j < N; j++) sums[t][j] = __fmaf_rn(weights[kx][j], to_float(v.v[j]), sums[t][j]);
                }
            }
        }

        T *to = out + (size_t(row) * out_width + ox) * channels + channel;
#pragma unroll
        for (int t = 0; t < COLUMNS; t++) {
            if (ox + t >= out_width) break;
            Vector made;
#pragma unroll
            for (int j = 0; j < N; j++) made.v[j] = from_float<T>(clamped(sums[t][j], low, high));
            *reinterpret_cast<Vector *>(to + unsigned(t) * channels) = made;
        }
    }
}

#define PARAMETERS(T)                                                                                                       \
    const T *x, const float *weight, const float *bias, T *out, unsigned pieces, unsigned height, unsigned width,            \
        unsigned out_height, unsigned out_width, unsigned channels, unsigned above, unsigned left, float low,     \
        float high
#define ARGUMENTS x, weight, bias, out, pieces, height, width, out_height, out_width, channels, above, left, low, high

KERNEL(128, depthwise_f32_3_1)(PARAMETERS(float)) { depthwise<float, 3, 1>(ARGUMENTS); }
KERNEL(128, depthwise_f32_3_2)(PARAMETERS(float)) { depthwise<float, 3, 2>(ARGUMENTS); }
KERNEL(128, depthwise_f32_5_1)(PARAMETERS(float)) { depthwise<float, 5, 1>(ARGUMENTS); }
KERNEL(128, depthwise_f32_5_2)(PARAMETERS(float)) { depthwise<float, 5, 2>(ARGUMENTS); }
KERNEL(128, depthwise_f16_3_1)(PARAMETERS(__half)) { depthwise<__half, 3, 1>(ARGUMENTS); }
KERNEL(128, depthwise_f16_3_2)(PARAMETERS(__half)) { depthwise<__half, 3, 2>(ARGUMENTS); }
KERNEL(128, depthwise_f16_5_1)(PARAMETERS(__half)) { depthwise<__half, 5, 1>(ARGUMENTS); }
KERNEL(128, depthwise_f16_5_2)(PARAMETERS(__half)) { depthwise<__half, 5, 2>(ARGUMENTS); }
KERNEL(128, depthwise_f32_7_1)(PARAMETERS(float)) { depthwise<float, 7, 1>(ARGUMENTS); }
KERNEL(128, depthwise_f16_7_1)(PARAMETERS(__half)) { depthwise<__half, 7, 1>(ARGUMENTS); }
