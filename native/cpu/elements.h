// Arrays of any dtype, computed with as f32.

#ifndef STEPCREDIT_CPU_ELEMENTS_H
#define STEPCREDIT_CPU_ELEMENTS_H

#include "../ops.h"
#include "simd.h"

namespace {

template <class Of>
struct ElementType {
  using Element = Of;
};

// body(ElementType<…>) of the dtype.
template <class Body>
inline void with_element(int32_t dtype, const Body& body) {
  if (dtype == kBf16)
    body(ElementType<Bf16>{});
  else if (dtype == kF16)
    body(ElementType<F16>{});
  else
    body(ElementType<float>{});
}

// f32 of `count` numbers.
template <class Element>
inline void widen_row(const Element* from, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
  if (i < count) store_part(to + i, load_part(from + i, count - i, 0.0f), count - i);
}

// The same of any dtype, from element `begin` on.
inline void widen_numbers(int32_t dtype, const void* from, int64_t begin, int64_t count, float* to) {
  with_element(dtype,
               [&](auto type) { widen_row(static_cast<const typename decltype(type)::Element*>(from) + begin, count, to); });
}

}  // namespace

#endif
