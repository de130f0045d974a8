// embed, rms_norm, rope, swiglu, and their backwards.

#include "cpu.h"
#include "elements.h"
#include "parallel.h"
#include "scratch.h"
#include "simd.h"

namespace SC_ISA {

namespace {

// About 32 KiB of f32 per chunk.
int64_t rows_of_8k(int64_t width) { return width >= 8192 ? 1 : 8192 / (width > 0 ? width : 1); }

// Four times that, where a chunk leaves a row of its own behind.
int64_t rows_of_32k(int64_t width) { return 4 * rows_of_8k(width); }

// Columns per chunk where rows are summed in order and columns are shared out.
constexpr int64_t kColumnBlock = 4 * kLanes;

template <class Element>
inline void add_row(float* to, const Element* from, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load(to + i) + load(from + i));
  for (; i < count; ++i) to[i] += to_float(from + i);
}

template <class Term>
inline float sum_terms(int64_t count, const Term& term) {
  VecF sum = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) sum += term(i, kLanes);
  if (i < count) sum += term(i, count - i);
  return sum_lanes(sum);
}

inline VecF load_lanes(const float* from, int64_t count) { return count == kLanes ? load(from) : load_part(from, count, 0.0f); }

inline void store_lanes(float* to, VecF v, int64_t count) {
  if (count == kLanes)
    store(to, v);
  else
    store_part(to, v, count);
}

// body(i, lanes) over 0 … count, the last call with fewer lanes.
template <class Body>
inline void for_lanes(int64_t count, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, kLanes);
  if (i < count) body(i, count - i);
}

inline VecF sigmoid(VecF x) { return splat(1.0f) / (splat(1.0f) + exp(-x)); }

void rotate(const RopeArgs& args, float direction) {
  const int64_t half = args.D / 2, width = args.heads * args.D;
  parallel_blocks(args.T, rows_of_8k(width), [&](int64_t begin, int64_t end) {
    const VecF sign = splat(direction);
    for (int64_t t = begin; t < end; ++t) {
      const float* cosines = args.cosines + args.depth[t] * half;
      const float* sines = args.sines + args.depth[t] * half;
      for (int64_t h = 0; h < args.heads; ++h) {
        float* low = args.x + t * width + h * args.D;
        float* high = low + half;
        for_lanes(half, [&](int64_t i, int64_t lanes) {
          const VecF c = load_lanes(cosines + i, lanes), s = sign * load_lanes(sines + i, lanes);
          const VecF a = load_lanes(low + i, lanes), b = load_lanes(high + i, lanes);
          store_lanes(low + i, a * c - b * s, lanes);
          store_lanes(high + i, b * c + a * s, lanes);
        });
      }
    }
  });
}

}  // namespace

int32_t embed(const EmbedArgs* args, ScStream, ScError*) {
  const int64_t H = args->H;
  with_element(args->table_dtype, [&](auto type) {
    const auto* table = static_cast<const typename decltype(type)::Element*>(args->table);
    parallel_blocks(args->T, rows_of_8k(H), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const auto* row = table + args->ids[t] * H;
        if (args->accumulate)
          add_row(args->out + t * H, row, H);
        else
          widen_row(row, H, args->out + t * H);
      }
    });
  });
  return 0;
}

int32_t embed_backward(const EmbedBackwardArgs* args, ScStream, ScError*) {
  const int64_t H = args->H;
  parallel_blocks(H, kColumnBlock, [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < args->T; ++t)
      add_row(args->dtable + args->ids[t] * H + begin, args->dout + t * H + begin, end - begin);
  });
  return 0;
}

int32_t rms_norm(const RmsNormArgs* args, ScStream, ScError*) {
  const int64_t H = args->H;
  parallel_blocks(args->T, rows_of_8k(H), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* x = args->x + t * H;
      float* y = args->y + t * H;
      const float squares = sum_terms(H, [&](int64_t i, int64_t lanes) {
        const VecF v = load_lanes(x + i, lanes);
        return v * v;
      });
      const float rrms = 1.0f / sqrtf(squares / static_cast<float>(H) + args->eps);
      args->rrms[t] = rrms;
      for_lanes(H, [&](int64_t i, int64_t lanes) {
        store_lanes(y + i, load_lanes(x + i, lanes) * splat(rrms) * load_lanes(args->weight + i, lanes), lanes);
      });
    }
  });
  return 0;
}

int32_t rms_norm_backward(const RmsNormBackwardArgs* args, ScStream, ScError* error) {
  const int64_t T = args->T, H = args->H;
  // Both gradients in one pass over x and dy: each chunk of rows sums its share of the weight's.
  const int64_t rows = rows_of_32k(H), chunks = (T + rows - 1) / rows;
  float* const shares = static_cast<float*>(calloc(static_cast<size_t>(chunks * H + 1), sizeof(float)));
  if (!shares) return fail(error, "no memory for the chunks' shares of dweight");
  parallel_chunks(chunks, [&](int64_t chunk) {
    float* const share = shares + chunk * H;
    const int64_t end = (chunk + 1) * rows < T ? (chunk + 1) * rows : T;
    for (int64_t t = chunk * rows; t < end; ++t) {
      const float* x = args->x + t * H;
      const float* dy = args->dy + t * H;
      float* dx = args->dx + t * H;
      const float rrms = args->rrms[t];
      const float dot = sum_terms(H, [&](int64_t i, int64_t lanes) {
        return load_lanes(dy + i, lanes) * load_lanes(args->weight + i, lanes) * load_lanes(x + i, lanes);
      });
      const float pull = rrms * rrms * dot / static_cast<float>(H);
      for_lanes(H, [&](int64_t i, int64_t lanes) {
        const VecF d = load_lanes(dy + i, lanes), v = load_lanes(x + i, lanes);
        VecF result = splat(rrms) * (d * load_lanes(args->weight + i, lanes) - v * splat(pull));
        if (args->accumulate) result += load_lanes(dx + i, lanes);
        store_lanes(share + i, fma(d, v * splat(rrms), load_lanes(share + i, lanes)), lanes);
        store_lanes(dx + i, result, lanes);
      });
    }
  });
  parallel_blocks(H, kColumnBlock, [&](int64_t begin, int64_t end) {
    for_lanes(end - begin, [&](int64_t i, int64_t lanes) {
      VecF sum = load_lanes(args->dweight + begin + i, lanes);
      for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += load_lanes(shares + chunk * H + begin + i, lanes);
      store_lanes(args->dweight + begin + i, sum, lanes);
    });
  });
  free(shares);
  return 0;
}

int32_t rope(const RopeArgs* args, ScStream, ScError*) {
  rotate(*args, 1.0f);
  return 0;
}

int32_t rope_backward(const RopeArgs* args, ScStream, ScError*) {
  rotate(*args, -1.0f);
  return 0;
}

int32_t swiglu(const SwigluArgs* args, ScStream, ScError*) {
  parallel_blocks(args->count, 8192, [&](int64_t begin, int64_t end) {
    for_lanes(end - begin, [&](int64_t offset, int64_t lanes) {
      const int64_t i = begin + offset;
      const VecF gate = load_lanes(args->gate + i, lanes);
      store_lanes(args->out + i, gate * sigmoid(gate) * load_lanes(args->up + i, lanes), lanes);
    });
  });
  return 0;
}

int32_t swiglu_backward(const SwigluBackwardArgs* args, ScStream, ScError*) {
  parallel_blocks(args->count, 8192, [&](int64_t begin, int64_t end) {
    for_lanes(end - begin, [&](int64_t offset, int64_t lanes) {
      const int64_t i = begin + offset;
      const VecF gate = load_lanes(args->gate + i, lanes), up = load_lanes(args->up + i, lanes);
      const VecF dout = load_lanes(args->dout + i, lanes), s = sigmoid(gate);
      store_lanes(args->dgate + i, dout * up * s * (splat(1.0f) + gate * (splat(1.0f) - s)), lanes);
      store_lanes(args->dup + i, dout * gate * s, lanes);
    });
  });
  return 0;
}

}  // namespace SC_ISA
