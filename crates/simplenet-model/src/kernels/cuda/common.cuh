// What every kernel here shares: number types, vector loads, tensor-core and asynchronous-copy instructions.
// The same text goes through nvcc and, for the tests without a GPU, through a C++ compiler with tests/cuda-emulator's
// header in front, which defines __CUDA_EMU__ and stands in for CUDA's own.
#pragma once

#ifndef __CUDA_EMU__
#include <cuda_fp16.h>
#include <cstdint>
// Dynamic shared memory, as an array of T that begins at a multiple of 16 bytes.
#define DYN_SHARED(T, name)                                    \
    extern __shared__ __align__(16) unsigned char name##_bytes[]; \
    T *name = reinterpret_cast<T *>(name##_bytes)
#endif

// A kernel that a launch can name; the tests' build script finds the names by this macro.
#define KERNEL(threads, name) extern "C" __global__ void __launch_bounds__(threads) name

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(__half v) { return __half2float(v); }

template <class T> __device__ __forceinline__ T from_float(float v);
template <> __device__ __forceinline__ float from_float<float>(float v) { return v; }
template <> __device__ __forceinline__ __half from_float<__half>(float v) { return __float2half_rn(v); }

// N numbers that are loaded and stored together: 8 halves or 4 floats are 16 bytes.
template <class T, int N> struct alignas(sizeof(T) * N) Pack { T v[N]; };
template <class T> struct PerVector { static const int value = 16 / sizeof(T); };

// v between low and high; NaN stays NaN, so that a broken network is not taken for a good part.
__device__ __forceinline__ float clamped(float v, float low, float high) {
    v = v < low ? low : v;
    return v > high ? high : v;
}

#ifndef __CUDA_EMU__

// Address of shared memory as the instructions below take it.
__device__ __forceinline__ uint32_t shared_address(const void *p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// 16 bytes from global to shared memory, in the background; zeros when `whole` is false.
__device__ __forceinline__ void copy_async_16(void *to, const void *from, bool whole) {
    const int bytes = whole ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(to)), "l"(from), "r"(bytes));
}

// Closes the group of copies begun since the last call.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;\n" ::); }

// Waits until at most N groups of this thread are unfinished.
template <int N> __device__ __forceinline__ void copy_async_wait() { asm volatile("cp.async.wait_group %0;\n" ::"n"(N)); }

// Four 8x8 matrices of halves from shared memory, each lane giving the address of one row: lanes 0-7 of the first matrix,
// 8-15 of the second, and so on.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)));
}

// c += a b: 16x16 by 16x8 halves, sums in f32, spread over the lanes of a warp as PTX's m16n8k16 says.
__device__ __forceinline__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif
