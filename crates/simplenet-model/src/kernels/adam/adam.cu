// One step of Adam or AdamW, one thread a number. state (3, L) is parameters, first and second moments. Each operation is
// rounded by itself, as on the CPU: the intrinsics keep the compiler from joining products and sums.
#include "common.cuh"

KERNEL(256, adam_step)(float *state, const float *gradient, unsigned len, float rate, float root, float coupled, float keep,
                       float beta1, float beta2, float rest1, float rest2, float eps) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < len; i += gridDim.x * blockDim.x) {
        float *const value = state + i, *const first = value + len, *const second = first + len;
        const float w = *value;
        const float g = __fadd_rn(gradient[i], __fmul_rn(coupled, w));
        const float m = __fadd_rn(__fmul_rn(beta1, *first), __fmul_rn(rest1, g));
        const float v = __fadd_rn(__fmul_rn(beta2, *second), __fmul_rn(__fmul_rn(rest2, g), g));
        const float root_of_v = __fadd_rn(__fmul_rn(__fsqrt_rn(v), root), eps);
        *first = m;
        *second = v;
        *value = __fsub_rn(__fmul_rn(keep, w), __fdiv_rn(__fmul_rn(rate, m), root_of_v));
    }
}
