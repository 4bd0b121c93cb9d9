// Patch aggregation of all layers in one launch: unfold, pool, resize to the first layer's grid, concatenate.
// maps: element (b, y, x, c) of layer l at b * image + y * row + x * column + c * channel; out (B, h, w, D).
//
// A block makes some consecutive outputs of a tile of pixels. Layers on another grid than the first are pooled on their own
// grid first, as far as the tile's resize reads them, into shared memory; a barrier; then every output of the tile is summed
// over the layers that it belongs to. Neighbouring threads make neighbouring outputs, whose taps are of neighbouring
// channels. A thread makes RUN pixels of a row at once: it reads a tap once for all of them.
#include "common.cuh"

static const int RUN = 6;   // 36 and 18 columns are whole runs

// What a layer's header holds, by its place; the same list is in cuda.rs.
enum { HEIGHT, WIDTH, IMAGE, ROW, COLUMN, CHANNEL, FIRST_OUTPUT, OUTPUTS, FIRST_WINDOW, RESIZED, ROW_SOURCES, COLUMN_SOURCES, HEADER };

struct Layer {
    const unsigned *header;
    __device__ __forceinline__ unsigned of(int field) const { return header[field]; }
};

// Sums of an output's taps at RUN pixels of row y from column x0 on; zeros beyond the map. A tap is (channel, row, column of
// the patch) in one word, and its weight's bits in the next.
template <class T>
__device__ __forceinline__ void pooled(const T *map, const Layer &layer, const unsigned *table, const uint2 *taps, int reach,
                                       unsigned output, int y, int x0, float (&sums)[RUN]) {
    const int height = layer.of(HEIGHT), width = layer.of(WIDTH), column_stride = layer.of(COLUMN);
    const size_t row_stride = layer.of(ROW), channel_stride = layer.of(CHANNEL);
    const unsigned window = layer.of(FIRST_WINDOW) + output, end = table[window + 1];
#pragma unroll
    for (int i = 0; i < RUN; i++) sums[i] = 0.0f;
    for (unsigned t = table[window]; t < end; t++) {
        const uint2 tap = taps[t];
        const int from_y = y + int(tap.x >> 4 & 15) - reach, from_x = x0 + int(tap.x & 15) - reach;
        if (from_y < 0 || from_y >= height) continue;
        const T *row = map + from_y * row_stride + (tap.x >> 8) * channel_stride;
        const float weight = __uint_as_float(tap.y);
#pragma unroll
        for (int i = 0; i < RUN; i++) {
            const int from = from_x + i;
            if (from >= 0 && from < width) sums[i] = __fmaf_rn(weight, to_float(row[from * column_stride]), sums[i]);
        }
    }
}

// Where a resized position reads from: low, high, the bits of high's share.
struct Source {
    unsigned low, high;
    float share;
};
__device__ __forceinline__ Source source(const unsigned *table, unsigned at) {
    return {table[3 * at], table[3 * at + 1], __uint_as_float(table[3 * at + 2])};
}

template <class T>
__device__ void aggregate(const T *map0, const T *map1, const T *map2, const T *map3, T *out, const unsigned *table,
                          const uint2 *taps, unsigned layers, unsigned patch_size, unsigned height, unsigned width, unsigned dim,
                          unsigned tile_rows, unsigned tile_columns, unsigned chunk) {
    DYN_SHARED(float, shared);
    // Not an array: one with an index that is not known would lie in local memory.
    auto map_of = [&](unsigned l) { return l == 0 ? map0 : l == 1 ? map1 : l == 2 ? map2 : map3; };
    const int reach = patch_size / 2;

    const unsigned chunks = (dim + chunk - 1) / chunk, across = (width + tile_columns - 1) / tile_columns;
    const unsigned down = (height + tile_rows - 1) / tile_rows;
    const unsigned first = blockIdx.x % chunks * chunk, last = min(first + chunk, dim), tile = blockIdx.x / chunks;
    const unsigned left = tile % across * tile_columns, right = min(left + tile_columns, width);
    const unsigned top = tile / across % down * tile_rows, bottom = min(top + tile_rows, height);
    const size_t image = tile / across / down;

    // The part of each resized layer that the tile reads, pooled: (row, column, output).
    float *to = shared;
    for (unsigned l = 0; l < layers; l++) {
        const Layer layer{table + l * HEADER};
        const unsigned begin = layer.of(FIRST_OUTPUT), end = begin + layer.of(OUTPUTS);
        const unsigned from = max(first, begin), until = min(last, end);
        if (!layer.of(RESIZED) || from >= until) continue;
        const unsigned *rows = table + layer.of(ROW_SOURCES), *columns = table + layer.of(COLUMN_SOURCES);
        const unsigned low_y = source(rows, top).low, high_y = source(rows, bottom - 1).high + 1;
        const unsigned low_x = source(columns, left).low, high_x = source(columns, right - 1).high + 1;
        const unsigned outputs = until - from, columns_here = high_x - low_x, runs = (columns_here + RUN - 1) / RUN;
        const T *map = map_of(l) + image * layer.of(IMAGE);
        for (unsigned i = threadIdx.x; i < (high_y - low_y) * runs * outputs; i += blockDim.x) {
            const unsigned o = i % outputs, run = i / outputs % runs, y = i / outputs / runs;
            float sums[RUN];
            pooled(map, layer, table, taps, reach, from - begin + o, low_y + y, low_x + run * RUN, sums);
            for (int j = 0; j < RUN; j++) {
                const unsigned x = run * RUN + j;
                if (x < columns_here) to[(y * columns_here + x) * outputs + o] = sums[j];
            }
        }
        to += (high_y - low_y) * columns_here * outputs;
    }
    __syncthreads();

    const unsigned outputs_here = last - first, runs = (right - left + RUN - 1) / RUN;
    for (unsigned i = threadIdx.x; i < (bottom - top) * runs * outputs_here; i += blockDim.x) {
        const unsigned output = first + i % outputs_here, x0 = left + i / outputs_here % runs * RUN;
        const unsigned y = top + i / outputs_here / runs;
        float sums[RUN];
        for (int j = 0; j < RUN; j++) sums[j] = 0.0f;
        const float *at = shared;
        for (unsigned l = 0; l < layers; l++) {
            const Layer layer{table + l * HEADER};
            const unsigned begin = layer.of(FIRST_OUTPUT), end = begin + layer.of(OUTPUTS);
            const unsigned from = max(first, begin), until = min(last, end);
            if (from >= until) continue;
            const bool mine = output >= begin && output < end;
            if (!layer.of(RESIZED)) {
                if (!mine) continue;
                float own[RUN];
                pooled(map_of(l) + image * layer.of(IMAGE), layer, table, taps, reach, output - begin, y, x0, own);
                for (int j = 0; j < RUN; j++) sums[j] = __fadd_rn(sums[j], own[j]);
                continue;
            }
            const unsigned *rows = table + layer.of(ROW_SOURCES), *columns = table + layer.of(COLUMN_SOURCES);
            const unsigned low_y = source(rows, top).low, high_y = source(rows, bottom - 1).high + 1;
            const unsigned low_x = source(columns, left).low, columns_here = source(columns, right - 1).high + 1 - low_x;
            const unsigned outputs = until - from;
            if (mine) {
                const Source row = source(rows, y);
                const float *upper = at + (row.low - low_y) * columns_here * outputs + (output - from);
                const float *lower = at + (row.high - low_y) * columns_here * outputs + (output - from);
                for (int j = 0; j < RUN; j++) {
                    if (x0 + j >= right) continue;
                    const Source column = source(columns, x0 + j);
                    const unsigned low = (column.low - low_x) * outputs, high = (column.high - low_x) * outputs;
                    const float a = __fmaf_rn(column.share, upper[high], (1.0f - column.share) * upper[low]);
                    const float b = __fmaf_rn(column.share, lower[high], (1.0f - column.share) * lower[low]);
                    sums[j] = __fadd_rn(sums[j], __fmaf_rn(row.share, b, (1.0f - row.share) * a));
                }
            }
            at += (high_y - low_y) * columns_here * outputs;
        }
        T *pixels = out + ((image * height + y) * width + x0) * dim + output;
        for (int j = 0; j < RUN; j++)
            if (x0 + j < right) pixels[size_t(j) * dim] = from_float<T>(sums[j]);
    }
}

KERNEL(256, patch_aggregate_f32)(const float *map0, const float *map1, const float *map2, const float *map3, float *out,
                                 const unsigned *table, const uint2 *taps, unsigned layers, unsigned patch_size, unsigned height,
                                 unsigned width, unsigned dim, unsigned tile_rows, unsigned tile_columns, unsigned chunk) {
    aggregate(map0, map1, map2, map3, out, table, taps, layers, patch_size, height, width, dim, tile_rows, tile_columns, chunk);
}

KERNEL(256, patch_aggregate_f16)(const __half *map0, const __half *map1, const __half *map2, const __half *map3, __half *out,
                                 const unsigned *table, const uint2 *taps, unsigned layers, unsigned patch_size, unsigned height,
                                 unsigned width, unsigned dim, unsigned tile_rows, unsigned tile_columns, unsigned chunk) {
    aggregate(map0, map1, map2, map3, out, table, taps, layers, patch_size, height, width, dim, tile_rows, tile_columns, chunk);
}
