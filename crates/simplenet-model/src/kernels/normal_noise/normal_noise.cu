// Features and the same with normal noise: out (2n, D) is x (n, D), then x + sigma * draw. One thread makes the four draws of
// a block of the generator. Every operation is one rounded operation of cpu.rs, in its order: the intrinsics keep the
// compiler from joining products and sums. mod.rs has the formula, cpu.rs says where the polynomials come from.
#include "common.cuh"

__device__ __forceinline__ float add(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ float subtract(float a, float b) { return __fsub_rn(a, b); }
__device__ __forceinline__ float multiply(float a, float b) { return __fmul_rn(a, b); }

// Philox4x32 with 10 rounds.
__device__ __forceinline__ void philox(unsigned (&c)[4], unsigned key0, unsigned key1) {
    const unsigned M0 = 0xD2511F53u, M1 = 0xCD9E8D57u;
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const unsigned high0 = __umulhi(M0, c[0]), low0 = M0 * c[0], high1 = __umulhi(M1, c[2]), low1 = M1 * c[2];
        c[0] = high1 ^ c[1] ^ key0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ key1;
        c[3] = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

// ln((a + 1/2) / 2^32)
__device__ __forceinline__ float ln_of_uniform(unsigned a) {
    const float LN[8] = {0.3333333135f,   -0.2500081956f, 0.2000124156f, -0.1662340909f,
                         0.1420157999f,   -0.1315961033f, 0.1276221722f, -0.07636439055f};
    const unsigned ROOT_HALF = 0x3F3504F3u;
    const float u = multiply(add(__int2float_rn(int(a >> 1)), 0.5f), 1.0f / 2147483648.0f);
    const unsigned above = __float_as_uint(u) - ROOT_HALF;
    const float exponent = __int2float_rn(int(above) >> 23);
    const float f = subtract(__uint_as_float((above & 0x007FFFFFu) + ROOT_HALF), 1.0f);
    float p = LN[7];
#pragma unroll
    for (int i = 6; i >= 0; i--) p = add(multiply(p, f), LN[i]);
    const float square = multiply(f, f);
    const float small = subtract(add(multiply(multiply(p, f), square), multiply(exponent, -2.1219444005e-4f)),
                                 multiply(0.5f, square));
    return add(add(small, f), multiply(exponent, 355.0f / 512.0f));
}

// Cosine and sine of b / 2^32 of a turn.
__device__ __forceinline__ void cos_sin_of_turn(unsigned b, float &cos_out, float &sin_out) {
    const unsigned quarter = (b + (1u << 29)) >> 30;
    const float TURN = 6.28318530717958647692f / 4294967296.0f;
    const float x = multiply(__int2float_rn(int(b - (quarter << 30))), TURN);
    const float z = multiply(x, x);
    float s = add(multiply(-0.0001951828453f, z), 0.008332189173f);
    s = add(multiply(s, z), -0.16666655242f);
    s = add(multiply(s, multiply(z, x)), x);
    float c = add(multiply(2.4432327336e-5f, z), -0.0013887309469f);
    c = add(multiply(c, z), 0.041666645557f);
    c = add(subtract(multiply(c, multiply(z, z)), multiply(0.5f, z)), 1.0f);
    const bool odd = quarter & 1;
    const float cosine = odd ? s : c, sine = odd ? c : s;
    cos_out = __uint_as_float(__float_as_uint(cosine) ^ (((quarter + 1) & 2) << 30));
    sin_out = __uint_as_float(__float_as_uint(sine) ^ ((quarter & 2) << 30));
}

__device__ __forceinline__ void normal_pair(unsigned a, unsigned b, float &first, float &second) {
    const float radius = __fsqrt_rn(multiply(-2.0f, ln_of_uniform(a)));
    float cosine, sine;
    cos_sin_of_turn(b, cosine, sine);
    first = multiply(radius, cosine);
    second = multiply(radius, sine);
}

KERNEL(256, with_normal_noise)(const float *x, float *out, unsigned count, unsigned key0, unsigned key1, unsigned stream0,
                               unsigned stream1, float sigma) {
    const unsigned blocks = (count + 3) / 4;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < blocks; i += gridDim.x * blockDim.x) {
        unsigned words[4] = {i, 0, stream0, stream1};
        philox(words, key0, key1);
        float draws[4];
        normal_pair(words[0], words[1], draws[0], draws[1]);
        normal_pair(words[2], words[3], draws[2], draws[3]);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const unsigned at = 4 * i + j;
            if (at >= count) break;
            const float value = x[at];
            out[at] = value;
            out[size_t(count) + at] = add(multiply(draws[j], sigma), value);
        }
    }
}
