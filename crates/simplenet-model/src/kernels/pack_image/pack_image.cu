// Images as a network's first map: normalised, with zeros around and a fourth channel of zeros.
// One thread makes one pixel of the map. x (B, H, W, 3) bytes or (B, 3, H, W) f32, out (B, padded height, padded width, 4).
#include "common.cuh"

// Bytes; every step is rounded as the CPU rounds it, whatever the compiler's flags.
struct Rgb {
    const unsigned char *x;
    float mean[3], std[3];
    __device__ __forceinline__ float operator()(unsigned b, unsigned y, unsigned column, int c, unsigned height,
                                                unsigned width) const {
        const float v = __uint2float_rn(x[((size_t(b) * height + y) * width + column) * 3 + c]);
        return __fdiv_rn(__fsub_rn(__fdiv_rn(v, 255.0f), mean[c]), std[c]);
    }
};

// Numbers that are normalised already.
struct Planes {
    const float *x;
    __device__ __forceinline__ float operator()(unsigned b, unsigned y, unsigned column, int c, unsigned height,
                                                unsigned width) const {
        return x[((size_t(b) * 3 + c) * height + y) * width + column];
    }
};

template <class T, class Source>
__device__ __forceinline__ void pack(const Source &value, T *out, unsigned pixels, unsigned height, unsigned width,
                                     unsigned above, unsigned left, unsigned padded_height, unsigned padded_width) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < pixels; i += gridDim.x * blockDim.x) {
        // Rows above and columns to the left of the image wrap to very large ones.
        const unsigned column = i % padded_width - left, y = i / padded_width % padded_height - above;
        const unsigned b = i / padded_width / padded_height;
        const bool inside = y < height && column < width;
        Pack<T, 4> pixel;
#pragma unroll
        for (int c = 0; c < 4; c++)
            pixel.v[c] = from_float<T>(inside && c < 3 ? value(b, y, column, c, height, width) : 0.0f);
        reinterpret_cast<Pack<T, 4> *>(out)[i] = pixel;
    }
}

KERNEL(256, pack_rgb_f32)(const unsigned char *x, float *out, unsigned pixels, unsigned height, unsigned width, unsigned above,
                          unsigned left, unsigned padded_height, unsigned padded_width, float mean_r, float mean_g,
                          float mean_b, float std_r, float std_g, float std_b) {
    const Rgb value{x, {mean_r, mean_g, mean_b}, {std_r, std_g, std_b}};
    pack(value, out, pixels, height, width, above, left, padded_height, padded_width);
}

KERNEL(256, pack_rgb_f16)(const unsigned char *x, __half *out, unsigned pixels, unsigned height, unsigned width, unsigned above,
                          unsigned left, unsigned padded_height, unsigned padded_width, float mean_r, float mean_g,
                          float mean_b, float std_r, float std_g, float std_b) {
    const Rgb value{x, {mean_r, mean_g, mean_b}, {std_r, std_g, std_b}};
    pack(value, out, pixels, height, width, above, left, padded_height, padded_width);
}

KERNEL(256, pack_planes_f32)(const float *x, float *out, unsigned pixels, unsigned height, unsigned width, unsigned above,
                             unsigned left, unsigned padded_height, unsigned padded_width) {
    pack(Planes{x}, out, pixels, height, width, above, left, padded_height, padded_width);
}

KERNEL(256, pack_planes_f16)(const float *x, __half *out, unsigned pixels, unsigned height, unsigned width, unsigned above,
                             unsigned left, unsigned padded_height, unsigned padded_width) {
    pack(Planes{x}, out, pixels, height, width, above, left, padded_height, padded_width);
}
