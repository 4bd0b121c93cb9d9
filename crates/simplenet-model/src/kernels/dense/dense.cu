// Dense layers on channels-last activations as one matrix product (implicit GEMM): nothing is unfolded into memory.
//
//   out[m, n] = clamp(sum over k of x[row m, k] * w[n, k] + bias[n] + residual[m, n], low, high)
//   partial[m, block of n] = sum over its n of tail[n] * LeakyReLU(sum over k of x[row m, k] * w[n, k] + bias[n])
//
// m is an output pixel of the batch. k counts taps, and within a tap `depth` consecutive numbers from the tap's pixel on;
// taps outside the image are zeros. w is (n, k), row by row. depth, k and n are multiples of 8.
// Every output is summed in the order of k by one thread (halves: by one warp's tensor cores, 16 of k at a time, in f32):
// results do not depend on the batch or on which tile is used. The second form has one tile for that reason.
#include "common.cuh"

// Sizes of a layer, as the launch gives them.
struct Layer {
    unsigned m, n, k, depth, pixel, height, width, kernel_width, stride, above, left, out_height, out_width;
};

#define LAYER_PARAMETERS                                                                                                    \
    unsigned m, unsigned n, unsigned k, unsigned depth, unsigned pixel, unsigned height, unsigned width,                    \
        unsigned kernel_width, unsigned stride, unsigned above, unsigned left, unsigned out_height, unsigned out_width
#define LAYER \
    Layer { m, n, k, depth, pixel, height, width, kernel_width, stride, above, left, out_height, out_width }

// One row of x: the image that its pixel lies in, and where its first tap is.
template <class T> struct Row {
    const T *image;
    int y, x;  // y of a row beyond the last lies in no image
};

template <class T> __device__ __forceinline__ Row<T> row_of(const T *x, const Layer &l, unsigned m) {
    const unsigned ox = m % l.out_width, oy = m / l.out_width % l.out_height, b = m / l.out_width / l.out_height;
    if (m >= l.m) return Row<T>{x, -(1 << 30), 0};
    return Row<T>{x + size_t(b) * l.height * l.width * l.pixel, int(oy * l.stride) - int(l.above), int(ox * l.stride) - int(l.left)};
}

// Where in k a thread reads: which tap, and how far into it.
struct Place {
    unsigned k, ty, tx, at;

    __device__ __forceinline__ Place(const Layer &l, unsigned start) {
        k = start;
        const unsigned tap = start / l.depth;
        at = start % l.depth;
        ty = tap / l.kernel_width;
        tx = tap % l.kernel_width;
    }
    __device__ __forceinline__ void advance(const Layer &l, unsigned by) {
        k += by;
        at += by;
        while (at >= l.depth) {
            at -= l.depth;
            if (++tx == l.kernel_width) tx = 0, ty++;
        }
    }
    // Whether that tap of the row lies in the image; `from` is then where.
    template <class T> __device__ __forceinline__ bool find(const Layer &l, const Row<T> &row, const T *&from) const {
        const int y = row.y + int(ty), x = row.x + int(tx);
        const bool inside = k < l.k && unsigned(y) < l.height && unsigned(x) < l.width;
        from = inside ? row.image + (unsigned(y) * l.width + unsigned(x)) * l.pixel + at : row.image;
        return inside;
    }
};

// What is done with the sums of a tile.
template <class Out> struct Store {
    const float *bias;
    const Out *residual;  // null for none
    Out *out;
    float low, high;
};
struct LeakyDot {
    const float *bias, *tail;
    float *partial;
    float slope;
};

__device__ __forceinline__ float leaky(float v, float slope) { return v > 0.0f ? v : v * slope; }

// ---- halves, on tensor cores -------------------------------------------------------------------------------------------

// A tile of TM x TN outputs by WARPS_M x WARPS_N warps; k goes through a ring of STAGES stages of 32 numbers.
template <int TM, int TN, int WARPS_M, int WARPS_N> struct HalfTile {
    static const int STAGES = 4, TK = 32, CHUNKS = TK / 8;
    static const int THREADS = 32 * WARPS_M * WARPS_N;
    static const int WM = TM / WARPS_M, WN = TN / WARPS_N, MI = WM / 16, NI = WN / 8;
    static const int ROWS_A = TM * CHUNKS / THREADS, ROWS_B = TN * CHUNKS / THREADS;  // chunks a thread copies
    static const int STAGE = (TM + TN) * TK;                                          // halves
    static const int PITCH = TN + 8;                                                  // floats of a row of sums

    // 16-byte chunks of a row are exchanged so that eight rows of one column of chunks lie in different banks.
    static __device__ __forceinline__ int swizzled(int row, int chunk) {
        return row * TK + ((chunk ^ (row >> 1 & 3)) << 3);
    }

    // Sums of the tile, spread over the threads as multiply_add leaves them.
    static __device__ __forceinline__ void sums(const Layer &l, const __half *x, const __half *w, unsigned m0, unsigned n0,
                                                __half *ring, float (&c)[MI][NI][4]) {
        const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
        const int chunk = thread % CHUNKS, first = thread / CHUNKS;
        Row<__half> rows[ROWS_A];
        #pragma unroll
        for (int i = 0; i < ROWS_A; i++) rows[i] = row_of(x, l, m0 + first + i * (THREADS / CHUNKS));
        Place place(l, chunk * 8);
        const int steps = (l.k + TK - 1) / TK;

        auto load = [&](int step) {
            __half *a = ring + step % STAGES * STAGE, *b = a + TM * TK;
            #pragma unroll
            for (int i = 0; i < ROWS_A; i++) {
                const __half *from;
                const bool inside = place.find(l, rows[i], from);
                copy_async_16(a + swizzled(first + i * (THREADS / CHUNKS), chunk), from, inside);
            }
            #pragma unroll
            for (int i = 0; i < ROWS_B; i++) {
                const int row = first + i * (THREADS / CHUNKS);
                const bool inside = place.k < l.k && n0 + row < l.n;
                copy_async_16(b + swizzled(row, chunk), inside ? w + size_t(n0 + row) * l.k + place.k : w, inside);
            }
            place.advance(l, TK);
        };

        #pragma unroll
        for (int i = 0; i < MI; i++)
            #pragma unroll
            for (int j = 0; j < NI; j++)
                #pragma unroll
                for (int q = 0; q < 4; q++) c[i][j][q] = 0.0f;
        #pragma unroll
        for (int s = 0; s < STAGES - 1; s++) {
            if (s < steps) load(s);
            copy_async_commit();
        }
        const int am = warp / WARPS_N * WM + (lane & 15), bn = warp % WARPS_N * WN + (lane & 7) + (lane >> 4 << 3);
        for (int step = 0; step < steps; step++) {
            copy_async_wait<STAGES - 2>();
            __syncthreads();  // the stage has landed for all, and nobody reads the one that is filled next
            if (step + STAGES - 1 < steps) load(step + STAGES - 1);
            copy_async_commit();
            const __half *a = ring + step % STAGES * STAGE, *b = a + TM * TK;
            #pragma unroll
            for (int kk = 0; kk < TK / 16; kk++) {
                uint32_t fa[MI][4], fb[NI / 2][4];
                #pragma unroll
                for (int i = 0; i < MI; i++) load_matrices(fa[i], a + swizzled(am + 16 * i, 2 * kk + (lane >> 4)));
                #pragma unroll
                for (int j = 0; j < NI / 2; j++) load_matrices(fb[j], b + swizzled(bn + 16 * j, 2 * kk + (lane >> 3 & 1)));
                #pragma unroll
                for (int i = 0; i < MI; i++)
                    #pragma unroll
                    for (int j = 0; j < NI; j++) {
                        const uint32_t half_b[2] = {fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]};
                        multiply_add(c[i][j], fa[i], half_b);
                    }
            }
        }
        copy_async_wait<0>();
        __syncthreads();  // the ring is free
    }

    // Sums go through shared memory so that every thread stores 16 bytes of one row.
    template <class Out>
    static __device__ void store(const Layer &l, const __half *x, const __half *w, const Store<Out> &to) {
        DYN_SHARED(__half, ring);
        const unsigned across = (l.n + TN - 1) / TN, m0 = blockIdx.x / across * TM, n0 = blockIdx.x % across * TN;
        float c[MI][NI][4];
        sums(l, x, w, m0, n0, ring, c);
        float *tile = reinterpret_cast<float *>(ring);
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        const int row = warp / WARPS_N * WM + lane / 4, column = warp % WARPS_N * WN + lane % 4 * 2;
        #pragma unroll
        for (int i = 0; i < MI; i++)
            #pragma unroll
            for (int j = 0; j < NI; j++)
                #pragma unroll
                for (int q = 0; q < 2; q++) {
                    const float2 two = {c[i][j][2 * q], c[i][j][2 * q + 1]};
                    *reinterpret_cast<float2 *>(tile + (row + 16 * i + 8 * q) * PITCH + column + 8 * j) = two;
                }
        __syncthreads();
        const int N = PerVector<Out>::value;
        using Vector = Pack<Out, N>;
        for (int i = threadIdx.x; i < TM * (TN / N); i += THREADS) {
            const int r = i / (TN / N), n = i % (TN / N) * N;
            if (m0 + r >= l.m || n0 + n >= l.n) continue;
            const size_t at = size_t(m0 + r) * l.n + n0 + n;
            Vector added, result;
            if (to.residual) added = *reinterpret_cast<const Vector *>(to.residual + at);
            #pragma unroll
            for (int j = 0; j < N; j++) {
                float v = tile[r * PITCH + n + j] + __ldg(to.bias + n0 + n + j);
                if (to.residual) v += to_float(added.v[j]);
                result.v[j] = from_float<Out>(clamped(v, to.low, to.high));
            }
            *reinterpret_cast<Vector *>(to.out + at) = result;
        }
    }

    static __device__ void leaky_dot(const Layer &l, const __half *x, const __half *w, const LeakyDot &to) {
        DYN_SHARED(__half, ring);
        const unsigned across = (l.n + TN - 1) / TN, m0 = blockIdx.x / across * TM, n0 = blockIdx.x % across * TN;
        float c[MI][NI][4];
        sums(l, x, w, m0, n0, ring, c);
        float *parts = reinterpret_cast<float *>(ring);  // (TM, WARPS_N)
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        const int row = warp / WARPS_N * WM + lane / 4, column = n0 + warp % WARPS_N * WN + lane % 4 * 2;
        #pragma unroll
        for (int i = 0; i < MI; i++)
            #pragma unroll
            for (int q = 0; q < 2; q++) {
                float sum = 0.0f;
                #pragma unroll
                for (int j = 0; j < NI; j++)
                    #pragma unroll
                    for (int e = 0; e < 2; e++) {
                        const unsigned n = column + 8 * j + e;
                        if (n < l.n) sum += __ldg(to.tail + n) * leaky(c[i][j][2 * q + e] + __ldg(to.bias + n), to.slope);
                    }
                sum += __shfl_xor_sync(0xffffffffu, sum, 1);
                sum += __shfl_xor_sync(0xffffffffu, sum, 2);
                if (lane % 4 == 0) parts[(row + 16 * i + 8 * q) * WARPS_N + warp % WARPS_N] = sum;
            }
        __syncthreads();
        for (int r = threadIdx.x; r < TM; r += THREADS) {
            if (m0 + r >= l.m) continue;
            float sum = 0.0f;
            #pragma unroll
            for (int p = 0; p < WARPS_N; p++) sum += parts[r * WARPS_N + p];
            to.partial[size_t(m0 + r) * across + blockIdx.x % across] = sum;
        }
    }
};

// ---- floats ------------------------------------------------------------------------------------------------------------

// A tile of 16 EDGE x 16 EDGE outputs by 256 threads of EDGE x EDGE; k goes through two stages of 16 numbers.
template <int EDGE> struct FloatTile {
    static const int TILE = 16 * EDGE, TK = 16, THREADS = 256;
    static const int LOADS = TILE * TK / 4 / THREADS;  // vectors of 4 of each operand a thread loads
    static const int PITCH = TILE + 4, STAGE = 2 * TK * PITCH;
    static const int GROUPS = EDGE / 4;  // a thread's columns are groups of 4, TILE / GROUPS apart; so are its rows

    static __device__ __forceinline__ int spread(int thread, int i) { return i / 4 * (TILE / GROUPS) + thread * 4 + i % 4; }

    static __device__ __forceinline__ void sums(const Layer &l, const float *x, const float *w, unsigned m0, unsigned n0,
                                                float *ring, float (&c)[EDGE][EDGE]) {
        const int thread = threadIdx.x, chunk = thread % 4, first = thread / 4;
        Row<float> rows[LOADS];
        #pragma unroll
        for (int i = 0; i < LOADS; i++) rows[i] = row_of(x, l, m0 + first + 64 * i);
        Place place(l, chunk * 4);
        float4 va[LOADS], vb[LOADS];
        const float4 zeros = {0.0f, 0.0f, 0.0f, 0.0f};
        auto load = [&] {
            #pragma unroll
            for (int i = 0; i < LOADS; i++) {
                const float *from;
                const bool inside = place.find(l, rows[i], from);
                va[i] = inside ? *reinterpret_cast<const float4 *>(from) : zeros;
                const unsigned n = n0 + first + 64 * i;
                vb[i] = place.k < l.k && n < l.n ? *reinterpret_cast<const float4 *>(w + size_t(n) * l.k + place.k) : zeros;
            }
            place.advance(l, TK);
        };
        auto keep = [&](int step) {
            float *a = ring + step % 2 * STAGE, *b = a + TK * PITCH;
            #pragma unroll
            for (int i = 0; i < LOADS; i++) {
                float *pa = a + chunk * 4 * PITCH + first + 64 * i, *pb = b + chunk * 4 * PITCH + first + 64 * i;
                pa[0] = va[i].x, pa[PITCH] = va[i].y, pa[2 * PITCH] = va[i].z, pa[3 * PITCH] = va[i].w;
                pb[0] = vb[i].x, pb[PITCH] = vb[i].y, pb[2 * PITCH] = vb[i].z, pb[3 * PITCH] = vb[i].w;
            }
        };
        #pragma unroll
        for (int i = 0; i < EDGE; i++)
            #pragma unroll
            for (int j = 0; j < EDGE; j++) c[i][j] = 0.0f;
        const int steps = (l.k + TK - 1) / TK, ty = thread / 16, tx = thread % 16;
        load();
        keep(0);
        __syncthreads();
        for (int step = 0; step < steps; step++) {
            if (step + 1 < steps) load();
            const float *a = ring + step % 2 * STAGE, *b = a + TK * PITCH;
            #pragma unroll
            for (int k = 0; k < TK; k++) {
                float fa[EDGE], fb[EDGE];
                #pragma unroll
                for (int g = 0; g < GROUPS; g++) {
                    const float4 four_a = *reinterpret_cast<const float4 *>(a + k * PITCH + spread(ty, 4 * g));
                    const float4 four_b = *reinterpret_cast<const float4 *>(b + k * PITCH + spread(tx, 4 * g));
                    fa[4 * g] = four_a.x, fa[4 * g + 1] = four_a.y, fa[4 * g + 2] = four_a.z, fa[4 * g + 3] = four_a.w;
                    fb[4 * g] = four_b.x, fb[4 * g + 1] = four_b.y, fb[4 * g + 2] = four_b.z, fb[4 * g + 3] = four_b.w;
                }
                #pragma unroll
                for (int i = 0; i < EDGE; i++)
                    #pragma unroll
                    for (int j = 0; j < EDGE; j++) c[i][j] = fmaf(fa[i], fb[j], c[i][j]);
            }
            if (step + 1 < steps) keep(step + 1);  // the other stage: everybody left it before the last barrier
            __syncthreads();
        }
    }

    static __device__ void store(const Layer &l, const float *x, const float *w, const Store<float> &to) {
        DYN_SHARED(float, ring);
        const unsigned across = (l.n + TILE - 1) / TILE, m0 = blockIdx.x / across * TILE, n0 = blockIdx.x % across * TILE;
        float c[EDGE][EDGE];
        sums(l, x, w, m0, n0, ring, c);
        #pragma unroll
        for (int i = 0; i < EDGE; i++) {
            const unsigned m = m0 + spread(threadIdx.x / 16, i);
            if (m >= l.m) continue;
            #pragma unroll
            for (int g = 0; g < GROUPS; g++) {
                const unsigned n = n0 + spread(threadIdx.x % 16, 4 * g);
                if (n >= l.n) continue;
                const size_t at = size_t(m) * l.n + n;
                Pack<float, 4> added, result;
                if (to.residual) added = *reinterpret_cast<const Pack<float, 4> *>(to.residual + at);
                #pragma unroll
                for (int j = 0; j < 4; j++) {
                    float v = c[i][4 * g + j] + __ldg(to.bias + n + j);
                    if (to.residual) v += added.v[j];
                    result.v[j] = clamped(v, to.low, to.high);
                }
                *reinterpret_cast<Pack<float, 4> *>(to.out + at) = result;
            }
        }
    }

    static __device__ void leaky_dot(const Layer &l, const float *x, const float *w, const LeakyDot &to) {
        DYN_SHARED(float, ring);
        const unsigned across = (l.n + TILE - 1) / TILE, m0 = blockIdx.x / across * TILE, n0 = blockIdx.x % across * TILE;
        float c[EDGE][EDGE];
        sums(l, x, w, m0, n0, ring, c);
        #pragma unroll
        for (int i = 0; i < EDGE; i++) {
            float sum = 0.0f;
            #pragma unroll
            for (int j = 0; j < EDGE; j++) {
                const unsigned n = n0 + spread(threadIdx.x % 16, j);
                if (n < l.n) sum += __ldg(to.tail + n) * leaky(c[i][j] + __ldg(to.bias + n), to.slope);
            }
            #pragma unroll
            for (int by = 1; by < 16; by *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, by);
            const unsigned m = m0 + spread(threadIdx.x / 16, i);
            if (threadIdx.x % 16 == 0 && m < l.m) to.partial[size_t(m) * across + blockIdx.x % across] = sum;
        }
    }
};

// ---- the kernels -------------------------------------------------------------------------------------------------------

#define STORE_PARAMETERS(In, Out)                                                                                            \
    const In *x, const In *w, const float *bias, const Out *residual, Out *out, float low, float high, LAYER_PARAMETERS
#define LEAKY_PARAMETERS(In) \
    const In *x, const In *w, const float *bias, const float *tail, float *partial, float slope, LAYER_PARAMETERS

KERNEL(256, dense_f16_128x128)(STORE_PARAMETERS(__half, __half)) {
    HalfTile<128, 128, 2, 4>::store(LAYER, x, w, Store<__half>{bias, residual, out, low, high});
}
KERNEL(128, dense_f16_128x64)(STORE_PARAMETERS(__half, __half)) {
    HalfTile<128, 64, 2, 2>::store(LAYER, x, w, Store<__half>{bias, residual, out, low, high});
}
KERNEL(128, dense_f16_64x64)(STORE_PARAMETERS(__half, __half)) {
    HalfTile<64, 64, 2, 2>::store(LAYER, x, w, Store<__half>{bias, residual, out, low, high});
}
KERNEL(128, dense_f16_to_f32_64x64)(STORE_PARAMETERS(__half, float)) {
    HalfTile<64, 64, 2, 2>::store(LAYER, x, w, Store<float>{bias, residual, out, low, high});
}
KERNEL(256, dense_f32_128x128)(STORE_PARAMETERS(float, float)) {
    FloatTile<8>::store(LAYER, x, w, Store<float>{bias, residual, out, low, high});
}
KERNEL(256, dense_f32_64x64)(STORE_PARAMETERS(float, float)) {
    FloatTile<4>::store(LAYER, x, w, Store<float>{bias, residual, out, low, high});
}
KERNEL(256, leaky_dot_f16_128x128)(LEAKY_PARAMETERS(__half)) {
    HalfTile<128, 128, 2, 4>::leaky_dot(LAYER, x, w, LeakyDot{bias, tail, partial, slope});
}
KERNEL(256, leaky_dot_f32_128x128)(LEAKY_PARAMETERS(float)) {
    FloatTile<8>::leaky_dot(LAYER, x, w, LeakyDot{bias, tail, partial, slope});
}

// out[m] = the sum of its `parts` partial sums, in order.
KERNEL(256, sum_parts)(const float *partial, float *out, unsigned m, unsigned parts) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < m; i += gridDim.x * blockDim.x) {
        float sum = 0.0f;
        for (unsigned p = 0; p < parts; p++) sum += partial[size_t(i) * parts + p];
        out[i] = sum;
    }
}
