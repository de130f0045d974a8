// Loops that have to be unrolled, because they index what lives in registers. A compiler for the host knows no such request.

#ifndef STEPCREDIT_CUDA_UNROLL_CUH
#define STEPCREDIT_CUDA_UNROLL_CUH

#if defined(__CUDACC__)
#define SC_UNROLL _Pragma("unroll")
#else
#define SC_UNROLL
#endif

#endif
