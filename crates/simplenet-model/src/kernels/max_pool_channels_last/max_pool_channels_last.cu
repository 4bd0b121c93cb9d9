// Max pooling of channels-last activations, 3x3 with stride 2 and one pixel of padding, which counts as absent.
// One thread makes 16 bytes of one output pixel. x (B, H, W, C), out (B, h, w, C); C a multiple of 8.
#include "common.cuh"

template <class T>
__device__ void max_pool(const T *x, T *out, unsigned packs, unsigned height, unsigned width, unsigned out_height,
                         unsigned out_width, unsigned channels) {
    const int N = PerVector<T>::value;
    using Vector = Pack<T, N>;
    const unsigned per_pixel = channels / N;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += gridDim.x * blockDim.x) {
        const unsigned pack = i % per_pixel, pixel = i / per_pixel;
        const unsigned ox = pixel % out_width, oy = pixel / out_width % out_height, b = pixel / out_width / out_height;
        float best[N];
        for (int j = 0; j < N; j++) best[j] = -__int_as_float(0x7f800000);
        for (int ky = -1; ky <= 1; ky++) {
            const int y = 2 * int(oy) + ky;
            if (y < 0 || y >= int(height)) continue;
            for (int kx = -1; kx <= 1; kx++) {
                const int column = 2 * int(ox) + kx;
                if (column < 0 || column >= int(width)) continue;
                const size_t from = (size_t(b) * height + y) * width + column;
                const Vector v = reinterpret_cast<const Vector *>(x + from * channels)[pack];
                for (int j = 0; j < N; j++) {
                    const float number = to_float(v.v[j]);
                    // NaN wins: a broken network is not taken for a good part.
                    best[j] = number > best[j] || number != number ? number : best[j];
                }
            }
        }
        Vector best_pack;
        for (int j = 0; j < N; j++) best_pack.v[j] = from_float<T>(best[j]);
        reinterpret_cast<Vector *>(out)[i] = best_pack;
    }
}

KERNEL(256, max_pool_f32)(const float *x, float *out, unsigned packs, unsigned height, unsigned width, unsigned out_height,
                          unsigned out_width, unsigned channels) {
    max_pool(x, out, packs, height, width, out_height, out_width, channels);
}

KERNEL(256, max_pool_f16)(const __half *x, __half *out, unsigned packs, unsigned height, unsigned width, unsigned out_height,
                          unsigned out_width, unsigned channels) {
    max_pool(x, out, packs, height, width, out_height, out_width, channels);
}
