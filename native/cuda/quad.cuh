// Four numbers of an array as f32: one load where the array lies at their alignment, else one by one. Which thread takes which
// four follows from their index alone, so results do not depend on where an array lies.

#ifndef STEPCREDIT_CUDA_QUAD_CUH
#define STEPCREDIT_CUDA_QUAD_CUH

#include "elements.cuh"
#include "unroll.cuh"

namespace gpu {

constexpr int kQuad = 4;

struct Quad {
  float of[kQuad];
};

// Whether every fourth element of every row of `stride` elements lies at the alignment of four.
template <class Element>
inline bool lies_in_quads(const Element* data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % (kQuad * sizeof(Element)) == 0 && stride % kQuad == 0;
}

namespace quads {

__device__ inline Quad whole(const float* from) {
  const float4 four = *reinterpret_cast<const float4*>(from);
  return {{four.x, four.y, four.z, four.w}};
}

template <class Half>
__device__ inline Quad whole(const Half* from) {
  const uint2 bits = *reinterpret_cast<const uint2*>(from);
  const auto half = [](unsigned word) { return to_float(Half{static_cast<uint16_t>(word)}); };
  return {{half(bits.x), half(bits.x >> 16), half(bits.y), half(bits.y >> 16)}};
}

}  // namespace quads

// `count`: how many of the four there are; the others are 0. `wide`: they lie in quads.
template <class Element>
__device__ inline Quad load_quad(const Element* from, int64_t count, bool wide) {
  if (wide && count >= kQuad) return quads::whole(from);
  Quad quad;
  SC_UNROLL
  for (int i = 0; i < kQuad; ++i) quad.of[i] = i < count ? to_float(from[i]) : 0.0f;
  return quad;
}

__device__ inline void store_quad(float* to, const Quad& quad, int64_t count, bool wide) {
  if (wide && count >= kQuad) {
    *reinterpret_cast<float4*>(to) = make_float4(quad.of[0], quad.of[1], quad.of[2], quad.of[3]);
    return;
  }
  SC_UNROLL
  for (int i = 0; i < kQuad; ++i)
    if (i < count) to[i] = quad.of[i];
}

// To the nearest, ties to even.
template <class Half>
__device__ inline void store_quad(Half* to, const Quad& quad, int64_t count, bool wide) {
  Half halves[kQuad];
  SC_UNROLL
  for (int i = 0; i < kQuad; ++i) from_float(quad.of[i], halves + i);
  if (wide && count >= kQuad) {
    const auto pair = [&](int i) {
      return static_cast<unsigned>(halves[i].bits) | static_cast<unsigned>(halves[i + 1].bits) << 16;
    };
    *reinterpret_cast<uint2*>(to) = make_uint2(pair(0), pair(2));
    return;
  }
  SC_UNROLL
  for (int i = 0; i < kQuad; ++i)
    if (i < count) to[i] = halves[i];
}

inline int64_t blocks_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

}  // namespace gpu

#endif
