// What follows a convolution of planar maps: x = clamp(x + bias[c] + residual), in place. x and residual (B, C, H, W), residual
// null where there is none, bias (C) f32. One thread takes 16 bytes, which may reach into the next planes.
#include "common.cuh"

template <class T, int N>
__device__ __forceinline__ void conv_epilogue(T *x, const float *bias, const T *residual, unsigned count, unsigned plane,
                                              unsigned channels, float low, float high) {
    using Vector = Pack<T, N>;
    const unsigned pieces = (count + N - 1) / N;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < pieces; i += gridDim.x * blockDim.x) {
        const unsigned first = i * N, left = count - first;
        Vector v, r;
        if (left >= N) {
            v = reinterpret_cast<const Vector *>(x)[i];
            if (residual) r = reinterpret_cast<const Vector *>(residual)[i];
        } else {
#pragma unroll
            for (int j = 0; j < N; j++)
                if (unsigned(j) < left) {
                    v.v[j] = x[first + j];
                    if (residual) r.v[j] = residual[first + j];
                }
        }
        unsigned at = first % plane, channel = first / plane % channels;
        float shift = bias[channel];
#pragma unroll
        for (int j = 0; j < N; j++) {
            float sum = to_float(v.v[j]) + shift;
            if (residual) sum += to_float(r.v[j]);
            v.v[j] = from_float<T>(clamped(sum, low, high));
            if (++at == plane) {
                at = 0;
                channel = channel + 1 == channels ? 0 : channel + 1;
                shift = bias[channel];
            }
        }
        if (left >= N) {
            reinterpret_cast<Vector *>(x)[i] = v;
        } else {
#pragma unroll
            for (int j = 0; j < N; j++)
                if (unsigned(j) < left) x[first + j] = v.v[j];
        }
    }
}

KERNEL(256, conv_epilogue_f32)(float *x, const float *bias, const float *residual, unsigned count, unsigned plane,
                               unsigned channels, float low, float high) {
    conv_epilogue<float, 4>(x, bias, residual, count, plane, channels, low, high);
}

KERNEL(256, conv_epilogue_f16)(__half *x, const float *bias, const __half *residual, unsigned count, unsigned plane,
                               unsigned channels, float low, float high) {
    conv_epilogue<__half, 8>(x, bias, residual, count, plane, channels, low, high);
}

// The same number by number, for memory that does not begin at a multiple of 16 bytes.
KERNEL(256, conv_epilogue_f32_single)(float *x, const float *bias, const float *residual, unsigned count, unsigned plane,
                                      unsigned channels, float low, float high) {
    conv_epilogue<float, 1>(x, bias, residual, count, plane, channels, low, high);
}

KERNEL(256, conv_epilogue_f16_single)(__half *x, const float *bias, const __half *residual, unsigned count, unsigned plane,
                                      unsigned channels, float low, float high) {
    conv_epilogue<__half, 1>(x, bias, residual, count, plane, channels, low, high);
}
