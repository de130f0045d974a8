// A row of logits with what becomes of a logit on its way to the softmax, its support and its targets; what the row says about
// them. The formulas are those of LogitRows and logprobs in ops.h, the decisions those of native/cpu/logit_row.h. A block of
// threads has one row.

#ifndef STEPCREDIT_CUDA_LOGIT_ROW_CUH
#define STEPCREDIT_CUDA_LOGIT_ROW_CUH

#include "../ops.h"
#include "row_vectors.cuh"
#include "softmax_row.cuh"

namespace gpu {

// z = y · scale, where y is the logit itself or softcap · tanh(inside · logit).
struct LogitChain {
  float scale;
  float softcap;  // 0: none
  float inside;
  float slope;  // dz/dlogit = slope · (1 − (y / softcap)²)

  __device__ float cap(float logit) const { return softcap * tanhf(inside * logit); }

  // 1 − (y / softcap)², of y / softcap
  __device__ static float bend(float t) { return (1.0f - t) * (1.0f + t); }
};

__device__ inline LogitChain logit_chain(float logit_scale, float softcap, float temperature) {
  const float slope = logit_scale / temperature;
  if (softcap > 0.0f) return {1.0f / temperature, softcap, logit_scale / softcap, slope};
  return {slope, 0.0f, 0.0f, slope};
}

__device__ inline LogitChain logit_chain(const HeadRows& head, int64_t t) {
  return logit_chain(head.logit_scale, head.softcap, head.temperatures ? head.temperatures[t] : head.temperature);
}

// Where the first vectors of a row are kept on the chip by those who read it, for those who read it again.
template <class Element>
struct KeptVectors {
  Wide<Element>* vectors = nullptr;  // shared memory of the block
  int64_t end = 0;                   // elements; all of a step of the block or none
  bool filled = false;
};

// A row whose vectors before `end` lie on the chip.
template <class Element>
struct RowOnChip {
  RowInMemory<Element> in_memory;
  int64_t count;
  const Wide<Element>* kept;
  int64_t end;

  __device__ Wide<Element> at(int64_t v) const { return v < end ? kept[v / Wide<Element>::kCount] : in_memory.at(v); }
};

template <class Element>
struct LogitRow {
  const Element* logits;
  int64_t V;
  LogitChain chain;
  const uint8_t* keep;  // null: all of the vocabulary is in the support
  const int32_t* targets;
  int64_t count;  // of targets
  int32_t ignore_index;
  KeptVectors<Element> kept_vectors;

  // The same row once it has been read. A thread finds the vectors that it has kept itself; before y, the block has to meet.
  __device__ LogitRow again() const {
    LogitRow row = *this;
    row.kept_vectors.filled = true;
    return row;
  }
  __device__ RowOnChip<Element> vectors() const {
    return {row_in_memory(logits, V), V, kept_vectors.vectors, kept_vectors.filled ? kept_vectors.end : 0};
  }
  __device__ void keep_vector(int64_t v, const Wide<Element>& vector) const {
    if (!kept_vectors.filled && v < kept_vectors.end) kept_vectors.vectors[v / Wide<Element>::kCount] = vector;
  }

  // y of one entry
  __device__ float y(int64_t v) const {
    const bool on_chip = kept_vectors.filled && v < kept_vectors.end;
    const float logit = to_float(on_chip ? reinterpret_cast<const Element*>(kept_vectors.vectors)[v] : logits[v]);
    return chain.softcap > 0.0f ? chain.cap(logit) : logit;
  }
  __device__ bool kept(int64_t v) const { return !keep || (keep[v >> 3] >> (v & 7) & 1); }
  __device__ bool ignored(int64_t k) const { return targets[k] == ignore_index; }
  __device__ bool has_targets() const {
    for (int64_t k = 0; k < count; ++k)
      if (!ignored(k)) return true;
    return false;
  }
};

template <class Element>
__device__ inline LogitRow<Element> logit_row(const LogitRows& rows, int64_t t) {
  const int64_t first = rows.target_offsets[t];
  return {static_cast<const Element*>(rows.logits) + t * rows.V,
          rows.V,
          logit_chain(rows.logit_scale, rows.softcap, rows.temperatures ? rows.temperatures[t] : rows.temperature),
          rows.keep ? rows.keep + t * ((rows.V + 7) / 8) : nullptr,
          rows.targets + first,
          rows.target_offsets[t + 1] - first,
          rows.ignore_index,
          {}};
}

// Bit i: whether entry v + i is in the support. A vector has 4 or 8 entries and begins at a multiple of them: one byte of the
// mask has them all.
template <class Element>
__device__ inline unsigned kept_bits(const LogitRow<Element>& row, int64_t v) {
  return row.keep ? static_cast<unsigned>(row.keep[v >> 3]) >> (v & 7) : ~0u;
}

// What a thread has of a row so far: of the segments that are complete, and of the one that is not.
struct SegmentSums {
  RowSums<float> complete, begun;

  __device__ RowSums<float> all(float scale) const { return joined(complete, begun, scale); }
};

__device__ inline SegmentSums no_segments() { return {no_sums<float>(), no_sums<float>()}; }

// Adds what the thread has of the elements begin … end − 1 to its sums; `before`: elements of the whole row before `row`.
template <int kThreads, bool with_moments, class Element>
__device__ inline void extend(SegmentSums* sums, const LogitRow<Element>& row, bool support, int64_t begin, int64_t end,
                              int64_t before = 0) {
  constexpr int kCount = Wide<Element>::kCount;
  const LogitChain& chain = row.chain;
  const auto complete = [&](int64_t, int64_t to) {
    if (!Segment<kThreads>::begins_at(before + to)) return;
    sums->complete = joined(sums->complete, sums->begun, chain.scale);
    sums->begun = no_sums<float>();
  };
  if (chain.softcap == 0.0f && !(support && row.keep)) {
    const auto add = [&](int64_t v, const Wide<Element>& vector) {
      row.keep_vector(v, vector);
      float x[kCount];
      widen(vector, x);
      add_elements<with_moments>(&sums->begun, x, chain.scale);
    };
    each_vector<kThreads, 4, Walk::kFromStart>(row.vectors(), begin, end, add, complete);
  } else {
    const auto add = [&](int64_t v, const Wide<Element>& vector) {
      row.keep_vector(v, vector);
      float x[kCount];
      widen(vector, x);
      const unsigned kept = support ? kept_bits(row, v) : ~0u;
      SC_UNROLL
      for (int i = 0; i < kCount; ++i) {
        if (chain.softcap > 0.0f) x[i] = chain.cap(x[i]);
        if (!(kept >> i & 1) || v + i >= row.V) x[i] = -INFINITY;
      }
      add_elements<with_moments>(&sums->begun, x, chain.scale);
    };
    each_vector<kThreads, 1, Walk::kFromStart>(row.vectors(), begin, end, add, complete);
  }
}

// What the thread has of one segment.
template <int kThreads, bool with_moments, class Element>
__device__ inline RowSums<float> segment_sums(const LogitRow<Element>& row, bool support, int64_t index) {
  const Segment<kThreads> segment(index, row.V);
  SegmentSums sums = no_segments();
  extend<kThreads, with_moments>(&sums, row, support, segment.begin, segment.end);
  return sums.all(row.chain.scale);
}

template <int kThreads, bool with_moments, class Element>
__device__ inline RowSums<double> sums_of(const LogitRow<Element>& row, bool support) {
  SegmentSums sums = no_segments();
  extend<kThreads, with_moments>(&sums, row, support, 0, row.V);
  return sum_threads<kThreads, with_moments>(sums.all(row.chain.scale), row.chain.scale);
}

// Of the support, and of the whole vocabulary where moments were asked for or the two are the same.
struct RowTotals {
  RowSums<double> support;
  RowSums<double> full;
};

template <int kThreads, bool with_moments, class Element>
__device__ inline RowTotals totals_of(const LogitRow<Element>& row) {
  if (!row.keep) {
    const RowSums<double> sums = sums_of<kThreads, with_moments>(row, false);
    return {sums, sums};
  }
  const RowSums<double> support = sums_of<kThreads, false>(row, true);
  if (!with_moments) return {support, no_sums<double>()};
  return {support, sums_of<kThreads, with_moments>(row.again(), false)};
}

// log-probability of the k-th target; 0 where it is ignored.
template <class Element>
__device__ inline float target_logprob(const LogitRow<Element>& row, const RowSums<double>& support, int64_t k) {
  if (row.ignored(k)) return 0.0f;
  const int64_t v = row.targets[k];
  const float y = row.y(v);
  if (row.kept(v) || y == -INFINITY)
    return y == -INFINITY && support.rest == support.rest ? -INFINITY : row_logprob(support, y, row.chain.scale);
  if (support.top == -INFINITY && support.rest == 0.0) return y == y ? 0.0f : y;  // nothing is kept but the target
  // p = e / (Σ + e) = 1 / (1 + exp(−odds))
  const float odds = row_logprob(support, y, row.chain.scale);
  return odds < 0.0f ? odds - log1pf(expf(odds)) : -log1pf(expf(-odds));
}

}  // namespace gpu

#endif
