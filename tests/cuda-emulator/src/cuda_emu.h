// CUDA on the CPU, as far as this project's kernels need it: put in front of a .cu that a C++20 compiler then takes.
//
// Every CUDA thread is a fibre; one block runs after another on one OS thread. The order in which threads run between two
// barriers is a parameter of a launch: results that differ between orders show a missing barrier. In most orders one warp
// runs as far ahead of the others as barriers let it, in one all warps go side by side. Shared memory begins
// filled with 0xAB. A barrier that not every thread reaches ends the process with a message. Asynchronous copies land as
// late as they may (when they are waited for) in even orders, at once in odd ones: a missing wait shows in one of them.
// Not there: textures, clusters, wgmma, bf16. Tensor-core products are summed in double and rounded once.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>
#include <ucontext.h>

#define __CUDA_EMU__ 1
#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __restrict__ __restrict
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define DYN_SHARED(T, name) T *name = reinterpret_cast<T *>(emu::dynamic_shared())

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) int4 { int x, y, z, w; };

namespace emu {

enum class At { Run, Block, Warp, Done };
struct Copy { void *to; const void *from; bool whole; };
struct Thread {
    dim3 index;
    unsigned linear = 0;
    At at = At::Run;
    std::vector<Copy> open;                // copies that no commit has closed yet
    std::deque<std::vector<Copy>> groups;  // closed, not waited for
};
constexpr size_t SLOT = 64;  // bytes that a lane can show to its warp
struct Warp { alignas(16) unsigned char slot[32][SLOT]; };
struct State {
    dim3 block, block_size, grid;
    std::vector<Warp> warps;
    std::unique_ptr<unsigned char[]> shared;
    unsigned threads = 0;
    int order = 0;
};
inline State state;
inline Thread *current;
inline ucontext_t scheduler, *fibre;
inline const std::function<void()> *body;

inline void *dynamic_shared() {
    auto address = reinterpret_cast<uintptr_t>(state.shared.get());
    return reinterpret_cast<void *>((address + 127) / 128 * 128);
}

[[noreturn]] inline void die(const char *what) {
    std::fprintf(stderr, "cuda emulator: %s (block %u, %u, %u)\n", what, state.block.x, state.block.y, state.block.z);
    std::abort();
}

inline void wait(At at) {
    Thread *thread = current;
    ucontext_t *context = fibre;
    thread->at = at;
    swapcontext(context, &scheduler);
    current = thread;
    fibre = context;
}

inline void entry() {
    (*body)();
    current->at = At::Done;
}

inline void launch(dim3 grid, dim3 block, size_t shared, int order, const std::function<void()> &kernel) {
    const size_t STACK = 128 << 10;
    const unsigned n = block.x * block.y * block.z, warps = (n + 31) / 32;
    body = &kernel;
    state.block_size = block;
    state.grid = grid;
    state.threads = n;
    state.order = order;
    state.warps.assign(warps, {});
    state.shared.reset(new unsigned char[shared + 256]);
    std::vector<Thread> threads(n);
    std::vector<ucontext_t> contexts(n);
    std::unique_ptr<char[]> stacks(new char[STACK * n]);
    // Warps take turns in this order, and so do the lanes of a warp.
    uint64_t seed = 0x9E3779B97F4A7C15ull * (order + 1);
    auto ordered = [&](unsigned count) {
        std::vector<unsigned> turn(count);
        for (unsigned i = 0; i < count; i++) turn[i] = order == 1 ? count - 1 - i : i;
        if (order > 1)
            for (unsigned i = count - 1; i; i--) {
                seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
                std::swap(turn[i], turn[seed % (i + 1)]);
            }
        return turn;
    };
    const std::vector<unsigned> turn = ordered(warps), lanes = ordered(32);
    // Every thread of a warp that can, up to its next barrier.
    auto run = [&](unsigned w) {
        for (unsigned lane : lanes) {
            const unsigned i = 32 * w + lane;
            if (i >= n || threads[i].at != At::Run) continue;
            current = &threads[i];
            fibre = &contexts[i];
            swapcontext(&scheduler, &contexts[i]);
        }
    };
    // Lets a warp go on whose living lanes all wait at a barrier of the warp.
    auto release = [&](unsigned w) {
        unsigned low = 32 * w, high = std::min(n, low + 32), waiting = 0, living = 0;
        for (unsigned i = low; i < high; i++) {
            living += threads[i].at != At::Done;
            waiting += threads[i].at == At::Warp;
        }
        if (waiting && waiting != living) die("a warp's barrier, shuffle or matrix instruction was not reached by every lane");
        for (unsigned i = low; i < high; i++)
            if (threads[i].at == At::Warp) threads[i].at = At::Run;
        return waiting > 0;
    };
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                state.block = dim3(x, y, z);
                std::memset(state.shared.get(), 0xAB, shared + 256);
                for (unsigned i = 0; i < n; i++) {
                    threads[i] = Thread{};
                    threads[i].index = dim3(i % block.x, i / block.x % block.y, i / (block.x * block.y));
                    threads[i].linear = i;
                    getcontext(&contexts[i]);
                    contexts[i].uc_stack.ss_sp = &stacks[STACK * i];
                    contexts[i].uc_stack.ss_size = STACK;
                    contexts[i].uc_link = &scheduler;
                    makecontext(&contexts[i], entry, 0);
                }
                for (;;) {
                    if (order == 2) {  // warps side by side: each up to its next barrier
                        bool moved = true;
                        while (moved) {
                            moved = false;
                            for (unsigned w : turn) run(w), moved |= release(w);
                        }
                    } else {  // one warp as far ahead of the others as barriers let it
                        for (unsigned w : turn) do run(w); while (release(w));
                    }
                    unsigned waiting = 0, done = 0;
                    for (auto &thread : threads) waiting += thread.at == At::Block, done += thread.at == At::Done;
                    if (done == n) break;
                    if (waiting != n) die("__syncthreads was not reached by every thread of the block");
                    for (auto &thread : threads) thread.at = At::Run;
                }
            }
}

// A kernel with its arguments, out of the array that a driver's launch takes.
template <class... A, size_t... I>
std::function<void()> bound(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    std::tuple<std::remove_cv_t<A>...> values(*static_cast<std::remove_cv_t<A> *>(arguments[I])...);
    return [=] { std::apply(kernel, values); };
}
template <class... A> std::function<void()> bound(void (*kernel)(A...), void **arguments) {
    return bound(kernel, arguments, std::index_sequence_for<A...>{});
}

// Shows `mine` to the warp and gives every lane's, as long as `use` runs.
template <class T, class F> auto exchange(const T &mine, F use) {
    static_assert(sizeof(T) <= SLOT);
    Warp &warp = state.warps[current->linear / 32];
    std::memcpy(warp.slot[current->linear % 32], &mine, sizeof mine);
    wait(At::Warp);
    auto result = use([&](unsigned lane) {
        T theirs;
        std::memcpy(&theirs, warp.slot[lane], sizeof theirs);
        return theirs;
    });
    wait(At::Warp);
    return result;
}
template <class T> T shuffle(T value, unsigned source) {  // a lane beyond the warp: one's own value
    unsigned lane = current->linear % 32, lanes = std::min(32u, state.threads - current->linear / 32 * 32);
    return exchange(value, [&](auto of) { return of(source < lanes ? source : lane); });
}

inline void land(const std::vector<Copy> &copies) {
    for (const Copy &copy : copies)
        if (copy.whole) std::memcpy(copy.to, copy.from, 16);
        else std::memset(copy.to, 0, 16);
}

// Halves as IEEE 754 binary16, to the nearest, ties to even.
inline float half_to_float(uint16_t h) {
    uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3FF, bits;
    if (exponent == 31) bits = sign | 0x7F800000 | mantissa << 13;
    else if (exponent) bits = sign | (exponent + 112) << 23 | mantissa << 13;
    else {
        float small = std::ldexp(float(mantissa), -24);
        std::memcpy(&bits, &small, 4);
        bits |= sign;
    }
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}
inline uint16_t float_to_half(float f) {
    uint32_t bits;
    std::memcpy(&bits, &f, 4);
    uint16_t sign = bits >> 16 & 0x8000;
    bits &= 0x7FFFFFFF;
    if (bits > 0x7F800000) return sign | 0x7E00;
    if (bits >= 0x477FF000) return sign | 0x7C00;
    float magnitude;
    std::memcpy(&magnitude, &bits, 4);
    if (bits < 0x38800000) return sign | uint16_t(std::nearbyint(std::ldexp(magnitude, 24)));
    uint32_t rounded = bits + 0xFFF + (bits >> 13 & 1);
    return sign | uint16_t((rounded >> 13) - (112 << 10));
}

}  // namespace emu

struct __half { uint16_t bits; };
inline float __half2float(__half h) { return emu::half_to_float(h.bits); }
inline __half __float2half_rn(float f) { return {emu::float_to_half(f)}; }

#define threadIdx (emu::current->index)
#define blockIdx (emu::state.block)
#define blockDim (emu::state.block_size)
#define gridDim (emu::state.grid)

inline void __syncthreads() { emu::wait(emu::At::Block); }
inline void __syncwarp(unsigned = ~0u) { emu::wait(emu::At::Warp); }
template <class T> T __shfl_sync(unsigned, T v, int lane) { return emu::shuffle(v, unsigned(lane) & 31); }
template <class T> T __shfl_xor_sync(unsigned, T v, int mask) { return emu::shuffle(v, (emu::current->linear % 32) ^ unsigned(mask)); }
template <class T> T __shfl_down_sync(unsigned, T v, unsigned by) { return emu::shuffle(v, emu::current->linear % 32 + by); }
template <class T> T __shfl_up_sync(unsigned, T v, unsigned by) {
    unsigned lane = emu::current->linear % 32;
    return emu::shuffle(v, lane >= by ? lane - by : lane);
}
template <class T> T __ldg(const T *p) { return *p; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __uint2float_rn(unsigned v) { return float(v); }
inline float __int2float_rn(int v) { return float(v); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline float __uint_as_float(unsigned v) { float f; std::memcpy(&f, &v, 4); return f; }
inline float __int_as_float(int v) { float f; std::memcpy(&f, &v, 4); return f; }
inline unsigned __float_as_uint(float f) { unsigned v; std::memcpy(&v, &f, 4); return v; }
inline int __float_as_int(float f) { int v; std::memcpy(&v, &f, 4); return v; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
using std::max;
using std::min;

// The instructions that common.cuh has for the GPU.
inline void copy_async_16(void *to, const void *from, bool whole) {
    if (reinterpret_cast<uintptr_t>(to) % 16 || (whole && reinterpret_cast<uintptr_t>(from) % 16))
        emu::die("an asynchronous copy of 16 bytes is not aligned to 16 bytes");
    emu::Copy copy{to, from, whole};
    if (emu::state.order % 2) emu::land({copy});
    else emu::current->open.push_back(copy);
}
inline void copy_async_commit() {
    emu::current->groups.push_back(std::move(emu::current->open));
    emu::current->open.clear();
}
template <int N> void copy_async_wait() {
    auto &groups = emu::current->groups;
    for (; groups.size() > size_t(N); groups.pop_front()) emu::land(groups.front());
}
inline void load_matrices(uint32_t (&r)[4], const void *row) {
    if (reinterpret_cast<uintptr_t>(row) % 16) emu::die("a row of a matrix is not aligned to 16 bytes");
    const unsigned lane = emu::current->linear % 32;
    auto loaded = emu::exchange(row, [&](auto of) {
        struct { uint32_t r[4]; } out;
        for (unsigned m = 0; m < 4; m++)
            std::memcpy(&out.r[m], static_cast<const char *>(of(8 * m + lane / 4)) + 4 * (lane % 4), 4);
        return out;
    });
    std::copy(loaded.r, loaded.r + 4, r);
}
// The fragments of m16n8k16: lane l holds of A rows l/4 and l/4+8, of B column l/4, of C rows as A and columns 2(l%4), +1.
inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    struct Operands { uint32_t a[4], b[2]; } mine;
    std::copy(a, a + 4, mine.a);
    std::copy(b, b + 2, mine.b);
    const unsigned lane = emu::current->linear % 32;
    auto half = [](uint32_t word, unsigned k) { return double(emu::half_to_float(uint16_t(word >> 16 * (k & 1)))); };
    auto sums = emu::exchange(mine, [&](auto of) {
        struct { float c[4]; } out;
        for (unsigned i = 0; i < 4; i++) {
            const unsigned row = i / 2, column = 2 * (lane % 4) + i % 2;
            double sum = c[i];
            for (unsigned k = 0; k < 16; k++) {
                const Operands left = of(4 * (lane / 4) + k % 8 / 2), right = of(4 * column + k % 8 / 2);
                sum += half(left.a[row + 2 * (k / 8)], k) * half(right.b[k / 8], k);
            }
            out.c[i] = float(sum);
        }
        return out;
    });
    std::copy(sums.c, sums.c + 4, c);
}
