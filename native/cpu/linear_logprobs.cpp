// linear_logprobs, linear_logprobs_backward: a head and its log-probabilities without the logits of all rows.
//
// The rows that take part are worked on 256 at a time, and for such a block the vocabulary in slabs of 4096 columns: a slab of
// logits is a product like that of `linear`, goes into the running sums of its rows, and makes room for the next. The backward
// makes the slab again, turns it into gradients in place and hands them to the products of `linear_backward`. Every product and
// every pass over a slab runs on all threads; the slabs follow each other, so sums over them have one order.

#include <stdlib.h>

#include "blas.h"
#include "cpu.h"
#include "matmul.h"
#include "scratch.h"
#include "softmax_row.h"

namespace SC_ISA {

namespace {

// Whole blocks of the product and of the softmax: sums that go from slab to slab or from block to block are cut where those of
// the unfused ops are.
constexpr int64_t kBlockRows = kDepth;
constexpr int64_t kSlabColumns = 2 * kSoftmaxBlock;
static_assert(kSlabColumns % kDepth == 0, "a slab is a whole number of the product's blocks");

constexpr int64_t kRowsPerChunk = 4;
constexpr int64_t kBlasRows = 64;
constexpr int64_t kBlasColumns = 256;

// What turns hidden states into logits.
struct Head {
  int64_t V, H;
  const float* weight;
  const float* bias;
  float scale;
  float cap;  // 0: none
  bool blas;
};

template <class Args>
Head head_of(const Args& args) {
  return {args.head.V,           args.head.H,       static_cast<const float*>(args.head.weight),          args.head.bias,
          args.head.logit_scale, args.head.softcap, by_blas(args.head.H, args.head.V, args.head.portable)};
}

// Columns begin … begin + width of the vocabulary.
struct Slab {
  int64_t begin, width;
};

// Up to kBlockRows of the rows that take part, with a copy of their hidden states.
struct RowBlock {
  int64_t count;
  int64_t rows[kBlockRows];
  float* hidden;  // [count, H]
};

// body(block) for the rows t with use(t), in order, kBlockRows at a time. Stops where a body returns false.
template <class Use, class Body>
bool row_blocks(int64_t T, int64_t H, const float* hidden, float* copies, const Use& use, const Body& body) {
  RowBlock block;
  block.count = 0;
  block.hidden = copies;
  for (int64_t t = 0; t < T; ++t) {
    if (use(t)) {
      memcpy(copies + block.count * H, hidden + t * H, static_cast<size_t>(H) * sizeof(float));
      block.rows[block.count++] = t;
    }
    if (block.count == kBlockRows || (t + 1 == T && block.count > 0)) {
      if (!body(block)) return false;
      block.count = 0;
    }
  }
  return true;
}

// body(slab) for the slabs of the vocabulary, in order. Stops where a body returns false.
template <class Body>
bool slabs(int64_t V, const Body& body) {
  for (int64_t begin = 0; begin < V; begin += kSlabColumns) {
    const Slab slab = {begin, V - begin < kSlabColumns ? V - begin : kSlabColumns};
    if (!body(slab)) return false;
  }
  return true;
}

// y [count, width] = hidden · weightᵀ + bias, before scale and softcap.
bool project(const Head& head, const RowBlock& block, const Slab& slab, float* y) {
  const int64_t M = block.count, H = head.H, width = slab.width;
  const float* weight = head.weight + slab.begin * H;
  const float* bias = head.bias ? head.bias + slab.begin : nullptr;
  if (!head.blas) return multiply(M, width, H, {block.hidden, H, 1}, {weight, 1, H}, y, width, false, bias);
  parallel_blocks(width, kBlasColumns, [&](int64_t begin, int64_t end) {
    sc_sgemm(false, true, M, end - begin, H, block.hidden, H, weight + begin * H, H, 0.0f, y + begin, width);
    if (!bias) return;
    for (int64_t i = 0; i < M; ++i)
      for (int64_t v = begin; v < end; ++v) y[i * width + v] += bias[v];
  });
  return true;
}

// Applies step(vector) to a row in place.
template <class Step>
void in_place(float* row, int64_t count, const Step& step) {
  int64_t v = 0;
  for (; v + kLanes <= count; v += kLanes) store(row + v, step(load(row + v)));
  if (v < count) store_part(row + v, step(load_part(row + v, count - v, 0.0f)), count - v);
}

// The logit scale and the softcap, on one row of a slab.
void scale_and_cap(const Head& head, float* row, int64_t count) {
  const VecF scale = splat(head.scale), cap = splat(head.cap);
  if (head.cap > 0.0f)
    in_place(row, count, [&](VecF y) { return cap * tanh(scale * y / cap); });
  else if (head.scale != 1.0f)
    in_place(row, count, [&](VecF y) { return scale * y; });
}

template <class Args>
float inverse_temperature(const Args& args, int64_t t) {
  return 1.0f / (args.head.temperatures ? args.head.temperatures[t] : args.head.temperature);
}

template <bool with_entropy>
bool forward(const LinearLogprobsArgs& args, float* copies, float* y) {
  const Head head = head_of(args);
  RowSums sums[kBlockRows];
  auto has_targets = [&](int64_t t) { return args.head.target_offsets[t] < args.head.target_offsets[t + 1]; };
  return row_blocks(args.head.T, args.head.H, static_cast<const float*>(args.head.hidden), copies, has_targets,
                    [&](const RowBlock& block) {
                      for (int64_t i = 0; i < block.count; ++i) sums[i] = kNoSums;
                      const bool done = slabs(head.V, [&](const Slab& slab) {
                        if (!project(head, block, slab, y)) return false;
                        parallel_blocks(block.count, kRowsPerChunk, [&](int64_t first, int64_t last) {
                          for (int64_t i = first; i < last; ++i) {
                            const int64_t t = block.rows[i];
                            float* row = y + i * slab.width;
                            scale_and_cap(head, row, slab.width);
                            sums[i] = extend_sums<with_entropy, false>(sums[i], row, slab.width, inverse_temperature(args, t));
                            for (int64_t n = args.head.target_offsets[t]; n < args.head.target_offsets[t + 1]; ++n) {
                              const int64_t v = args.head.targets[n] - slab.begin;
                              if (v >= 0 && v < slab.width)
                                args.logprobs[n] = row[v];  // the logit, until the sums are complete
                            }
                          }
                        });
                        return true;
                      });
                      for (int64_t i = 0; done && i < block.count; ++i) {
                        const int64_t t = block.rows[i];
                        const float scale = inverse_temperature(args, t);
                        args.lse[t] = row_lse(sums[i], scale);
                        if (with_entropy) args.entropy[t] = row_entropy(sums[i]);
                        for (int64_t n = args.head.target_offsets[t]; n < args.head.target_offsets[t + 1]; ++n)
                          args.logprobs[n] = row_logprob(sums[i], args.logprobs[n], scale);
                      }
                      return done;
                    });
}

// What the gradient of one row needs besides its logits.
struct RowGradient {
  float scale;  // 1 / temperature
  float lse;
  float dentropy;
  float entropy;
  int64_t count;  // of targets
  const int32_t* targets;
  const float* logprobs;
  const float* dlogprobs;
  float* kept;  // [count] room for the targets' logits
};

// Logits of a slab to gradients of what `project` gave, in place.
void gradient_in_place(const Head& head, const RowGradient& row, const Slab& slab, float* x) {
  auto inside = [&](int64_t k) { return row.targets[k] >= slab.begin && row.targets[k] < slab.begin + slab.width; };
  float G = 0.0f;
  for (int64_t k = 0; k < row.count; ++k) {
    G += row.dlogprobs[k];
    if (inside(k)) row.kept[k] = x[row.targets[k] - slab.begin];
  }
  const bool capped = head.cap > 0.0f, with_entropy = row.dentropy != 0.0f;
  const float factor = row.scale * head.scale;
  const VecF zero = {}, one = splat(1.0f);
  const VecF vscale = splat(row.scale), vlse = splat(row.lse), vG = splat(-G), vfactor = splat(factor), cap = splat(head.cap);
  const VecF dentropy = splat(-row.dentropy), entropy = splat(row.entropy);
  in_place(x, slab.width, [&](VecF y) {
    const VecF logp = y * vscale - vlse;
    const VecF p = exp(logp);
    VecF d = vG * p;
    if (with_entropy) d += p > zero ? dentropy * p * (logp + entropy) : zero;
    if (!capped) return d * vfactor;
    const VecF t = y / cap;
    return d * vfactor * ((one - t) * (one + t));
  });
  for (int64_t k = 0; k < row.count; ++k) {
    if (!inside(k) || row.kept[k] == -INFINITY) continue;
    const int32_t target = row.targets[k];
    bool first = true;
    for (int64_t j = 0; j < k && first; ++j) first = row.targets[j] != target;
    if (!first) continue;
    float own = 0.0f;
    for (int64_t j = k; j < row.count; ++j) own += row.targets[j] == target ? row.dlogprobs[j] : 0.0f;
    const float t = capped ? row.kept[k] / head.cap : 0.0f;
    const float chain = factor * ((1.0f - t) * (1.0f + t));
    const float logp = row.logprobs[k];
    if (logp >= -0.28768207f) {  // p ≥ ¾: own − G p = (own − G) + G (1 − p) without cancellation
      float d = (own - G) - G * expm1f(logp);
      if (with_entropy) d -= row.dentropy * expf(logp) * (logp + row.entropy);
      x[target - slab.begin] = d * chain;
    } else {
      x[target - slab.begin] += own * chain;
    }
  }
}

// dhidden [count, H] (+)= a · weight of the slab.
bool add_dhidden(const Head& head, const RowBlock& block, const Slab& slab, const float* a, float* dhidden) {
  const int64_t M = block.count, H = head.H, width = slab.width;
  const float* weight = head.weight + slab.begin * H;
  const bool accumulate = slab.begin > 0;
  if (!head.blas) return multiply(M, H, width, {a, width, 1}, {weight, H, 1}, dhidden, H, accumulate, nullptr);
  const int64_t pieces = (H + kBlasColumns - 1) / kBlasColumns;
  parallel_chunks((M + kBlasRows - 1) / kBlasRows * pieces, [&](int64_t task) {
    const int64_t i = task / pieces * kBlasRows, h = task % pieces * kBlasColumns;
    const int64_t rows = M - i < kBlasRows ? M - i : kBlasRows, columns = H - h < kBlasColumns ? H - h : kBlasColumns;
    sc_sgemm(false, false, rows, columns, width, a + i * width, width, weight + h, H, accumulate ? 1.0f : 0.0f,
             dhidden + i * H + h, H);
  });
  return true;
}

// dweight of the slab += aᵀ · hidden.
bool add_dweight(const Head& head, const RowBlock& block, const Slab& slab, const float* a, float* dweight) {
  const int64_t M = block.count, H = head.H, width = slab.width;
  if (!head.blas) return multiply(width, H, M, {a, 1, width}, {block.hidden, H, 1}, dweight, H, true, nullptr);
  parallel_blocks(width, kBlasColumns, [&](int64_t begin, int64_t end) {
    sc_sgemm(true, false, end - begin, H, M, a + begin, width, block.hidden, H, 1.0f, dweight + begin * H, H);
  });
  return true;
}

void add_dbias(const RowBlock& block, const Slab& slab, const float* a, float* dbias) {
  parallel_blocks(slab.width, kBlasColumns, [&](int64_t begin, int64_t end) {
    double sums[kBlasColumns] = {};
    for (int64_t i = 0; i < block.count; ++i)
      for (int64_t v = begin; v < end; ++v) sums[v - begin] += static_cast<double>(a[i * slab.width + v]);
    for (int64_t v = begin; v < end; ++v) dbias[v] += static_cast<float>(sums[v - begin]);
  });
}

bool backward(const LinearLogprobsBackwardArgs& args, float* copies, float* a, float* dcopies, float* kept) {
  const Head head = head_of(args);
  auto dentropy = [&](int64_t t) { return args.dentropy ? args.dentropy[t] : 0.0f; };
  auto has_gradient = [&](int64_t t) {
    const int64_t first = args.head.target_offsets[t], last = args.head.target_offsets[t + 1];
    bool any = first < last && dentropy(t) != 0.0f;
    for (int64_t n = first; n < last; ++n) any = any || args.dlogprobs[n] != 0.0f;
    return any && args.lse[t] != -INFINITY;
  };
  return row_blocks(
      args.head.T, args.head.H, static_cast<const float*>(args.head.hidden), copies, has_gradient, [&](const RowBlock& block) {
        const bool done = slabs(head.V, [&](const Slab& slab) {
          if (!project(head, block, slab, a)) return false;
          parallel_blocks(block.count, kRowsPerChunk, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) {
              const int64_t t = block.rows[i], first = args.head.target_offsets[t];
              scale_and_cap(head, a + i * slab.width, slab.width);
              const RowGradient row = {inverse_temperature(args, t),
                                       args.lse[t],
                                       dentropy(t),
                                       args.dentropy ? args.entropy[t] : 0.0f,
                                       args.head.target_offsets[t + 1] - first,
                                       args.head.targets + first,
                                       args.logprobs + first,
                                       args.dlogprobs + first,
                                       kept + first};
              gradient_in_place(head, row, slab, a + i * slab.width);
            }
          });
          if (args.dbias) add_dbias(block, slab, a, args.dbias + slab.begin);
          if (args.dweight && !add_dweight(head, block, slab, a, args.dweight + slab.begin * head.H)) return false;
          return !args.dhidden || add_dhidden(head, block, slab, a, dcopies);
        });
        for (int64_t i = 0; done && args.dhidden && i < block.count; ++i)
          memcpy(args.dhidden + block.rows[i] * head.H, dcopies + i * head.H, static_cast<size_t>(head.H) * sizeof(float));
        return done;
      });
}

float* floats(int64_t count) { return static_cast<float*>(malloc(static_cast<size_t>(count > 0 ? count : 1) * sizeof(float))); }

constexpr const char* kNoMemory = "no memory for a block of rows and a slab of logits";

}  // namespace

int32_t linear_logprobs(const LinearLogprobsArgs* args, ScStream, ScError* error) {
  const int64_t rows = args->head.T < kBlockRows ? args->head.T : kBlockRows;
  const int64_t columns = args->head.V < kSlabColumns ? args->head.V : kSlabColumns;
  float* copies = floats(rows * args->head.H);
  float* y = floats(rows * columns);
  bool done = copies && y;
  if (done) done = args->entropy ? forward<true>(*args, copies, y) : forward<false>(*args, copies, y);
  free(copies);
  free(y);
  return done ? 0 : fail(error, kNoMemory);
}

int32_t linear_logprobs_backward(const LinearLogprobsBackwardArgs* args, ScStream, ScError* error) {
  if (args->dhidden) memset(args->dhidden, 0, static_cast<size_t>(args->head.T * args->head.H) * sizeof(float));
  if (!args->dhidden && !args->dweight && !args->dbias) return 0;
  const int64_t rows = args->head.T < kBlockRows ? args->head.T : kBlockRows;
  const int64_t columns = args->head.V < kSlabColumns ? args->head.V : kSlabColumns;
  float* copies = floats(rows * args->head.H);
  float* a = floats(rows * columns);
  float* dcopies = floats(args->dhidden ? rows * args->head.H : 0);
  float* kept = floats(args->head.N);
  const bool done = copies && a && dcopies && kept && backward(*args, copies, a, dcopies, kept);
  free(copies);
  free(a);
  free(dcopies);
  free(kept);
  return done ? 0 : fail(error, kNoMemory);
}

}  // namespace SC_ISA
