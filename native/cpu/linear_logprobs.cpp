// linear_logprobs, linear_logprobs_backward: a head and its log-probabilities without the logits of all rows.
//
// The rows that take part are worked on 256 at a time, and for such a block the vocabulary in slabs of 4096 columns: a slab of
// logits is a product like that of `linear`, goes into the running sums of its rows, and makes room for the next. The backward
// makes the slab again, turns it into gradients in place and hands them to the products of `linear_backward`. Every product and
// every pass over a slab runs on all threads; the slabs follow each other, so sums over them have one order.

#include <stdlib.h>

#include "blas.h"
#include "cpu.h"
#include "logit_row.h"
#include "matmul.h"
#include "scratch.h"

namespace SC_ISA {

namespace {

// Whole blocks of the product and of the softmax: sums that go from slab to slab or from block to block are cut where those of
// the unfused ops are.
constexpr int64_t kBlockRows = kDepth;
constexpr int64_t kSlabColumns = 2 * kSoftmaxBlock;
static_assert(kSlabColumns % kDepth == 0, "a slab is a whole number of the product's blocks");

// Rows of a slab begin one vector more than a slab apart: at a power of two a product that packs several rows side by side
// would find them all in the same few lines of the first cache, and takes up to half as long again.
constexpr int64_t kSlabStride = kSlabColumns + 16;

constexpr int64_t kRowsPerChunk = 4;
constexpr int64_t kBlasColumns = 256;

// What turns hidden states into logits.
struct Head {
  int64_t V, H;
  int32_t weight_dtype;
  const void* weight;
  const float* bias;
  bool blas;
};

Head head_of(const HeadRows& rows) {
  return {rows.V, rows.H, rows.weight_dtype, rows.weight, rows.bias, by_blas(rows.H, rows.V, rows.portable)};
}

LogitChain chain_of(const HeadRows& rows, int64_t t) {
  return logit_chain(rows.logit_scale, rows.softcap, rows.temperatures ? rows.temperatures[t] : rows.temperature);
}

// Columns of a slab: half weights are widened slab by slab, and a wide head's slabs are narrower.
int64_t slab_columns(const HeadRows& rows) { return rows.weight_dtype != kF32 && rows.H > 1024 ? kSoftmaxBlock : kSlabColumns; }

// Columns begin … begin + width of the vocabulary, and their rows of the weight.
struct Slab {
  int64_t begin, width;
  const float* weight;  // [width, H]
};

// Up to kBlockRows of the rows that take part, with a copy of their hidden states.
struct RowBlock {
  int64_t count;
  int64_t rows[kBlockRows];
  float* hidden;  // [count, H]
};

// body(block) for the rows t with use(t), in order, kBlockRows at a time. Stops where a body returns false.
template <class Use, class Body>
bool row_blocks(const HeadRows& rows, float* copies, const Use& use, const Body& body) {
  RowBlock block;
  block.count = 0;
  block.hidden = copies;
  const int64_t T = rows.T, H = rows.H;
  for (int64_t t = 0; t < T; ++t) {
    if (use(t)) {
      widen_numbers(rows.hidden_dtype, rows.hidden, t * H, H, copies + block.count * H);
      block.rows[block.count++] = t;
    }
    if (block.count == kBlockRows || (t + 1 == T && block.count > 0)) {
      if (!body(block)) return false;
      block.count = 0;
    }
  }
  return true;
}

// body(slab) for the slabs of the vocabulary, in order. Half weights are widened into `wide` [columns, H]. Stops where a body
// returns false.
template <class Body>
bool slabs(const Head& head, int64_t columns, float* wide, const Body& body) {
  for (int64_t begin = 0; begin < head.V; begin += columns) {
    const int64_t width = head.V - begin < columns ? head.V - begin : columns;
    Slab slab = {begin, width, wide};
    if (head.weight_dtype == kF32)
      slab.weight = static_cast<const float*>(head.weight) + begin * head.H;
    else
      parallel_blocks(width, kBlasColumns, [&](int64_t first, int64_t last) {
        widen_numbers(head.weight_dtype, head.weight, (begin + first) * head.H, (last - first) * head.H, wide + first * head.H);
      });
    if (!body(slab)) return false;
  }
  return true;
}

// y [count, width], rows kSlabStride apart, = hidden · weightᵀ + bias, before scale and softcap.
bool project(const Head& head, const RowBlock& block, const Slab& slab, float* y) {
  const int64_t M = block.count, H = head.H, width = slab.width;
  const float* weight = slab.weight;
  const float* bias = head.bias ? head.bias + slab.begin : nullptr;
  if (!head.blas) return multiply(M, width, H, {block.hidden, H, 1}, {weight, 1, H}, y, kSlabStride, false, bias);
  parallel_blocks(width, kBlasColumns, [&](int64_t begin, int64_t end) {
    sc_sgemm(false, true, M, end - begin, H, block.hidden, H, weight + begin * H, H, 0.0f, y + begin, kSlabStride);
    if (!bias) return;
    for (int64_t i = 0; i < M; ++i)
      for (int64_t v = begin; v < end; ++v) y[i * kSlabStride + v] += bias[v];
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

// A row of a slab as a row of logits: whatever it holds of the targets, it does not own them.
LogitRow<float> slab_row(const float* logits, const Slab& slab, const LogitChain& chain) {
  return {logits, slab.width, chain, nullptr, nullptr, 0, -1};
}

bool has_targets(const HeadRows& rows, int64_t t) {
  for (int64_t n = rows.target_offsets[t]; n < rows.target_offsets[t + 1]; ++n)
    if (rows.targets[n] != rows.ignore_index) return true;
  return false;
}

template <bool with_entropy>
bool forward(const LinearLogprobsArgs& args, float* copies, float* y, float* wide) {
  const HeadRows& rows = args.head;
  const Head head = head_of(rows);
  RowSums sums[kBlockRows];
  for (int64_t n = 0; n < rows.N; ++n) args.logprobs[n] = 0.0f;
  auto use = [&](int64_t t) { return has_targets(rows, t); };
  return row_blocks(rows, copies, use, [&](const RowBlock& block) {
    for (int64_t i = 0; i < block.count; ++i) sums[i] = kNoSums;
    const bool done = slabs(head, slab_columns(rows), wide, [&](const Slab& slab) {
      if (!project(head, block, slab, y)) return false;
      parallel_blocks(block.count, kRowsPerChunk, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          const int64_t t = block.rows[i];
          const LogitRow<float> row = slab_row(y + i * kSlabStride, slab, chain_of(rows, t));
          for_blocks(row, false, [&](const auto* part, int64_t, int64_t count) {
            sums[i] = add_block<with_entropy, false>(sums[i], part, count, row.chain.scale);
          });
          for (int64_t n = rows.target_offsets[t]; n < rows.target_offsets[t + 1]; ++n) {
            const int64_t v = rows.targets[n] - slab.begin;
            if (v < 0 || v >= slab.width || rows.targets[n] == rows.ignore_index) continue;
            args.logprobs[n] = row.y(v);  // until the sums are complete
          }
        }
      });
      return true;
    });
    for (int64_t i = 0; done && i < block.count; ++i) {
      const int64_t t = block.rows[i];
      const float scale = chain_of(rows, t).scale;
      args.lse[t] = row_lse(sums[i], scale);
      if (with_entropy) args.entropy[t] = row_entropy(sums[i]);
      for (int64_t n = rows.target_offsets[t]; n < rows.target_offsets[t + 1]; ++n)
        if (rows.targets[n] != rows.ignore_index) args.logprobs[n] = row_logprob(sums[i], args.logprobs[n], scale);
    }
    return done;
  });
}

// What the gradient of one row needs besides its logits.
struct RowGradient {
  LogitChain chain;
  int32_t ignore_index;
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
void gradient_in_place(const RowGradient& row, const Slab& slab, float* x) {
  const LogitChain& chain = row.chain;
  const bool capped = chain.softcap > 0.0f, with_entropy = row.dentropy != 0.0f;
  auto inside = [&](int64_t k) {
    const int32_t target = row.targets[k];
    return target != row.ignore_index && target >= slab.begin && target < slab.begin + slab.width;
  };
  float G = 0.0f;
  for (int64_t k = 0; k < row.count; ++k) {
    if (row.targets[k] != row.ignore_index) G += row.dlogprobs[k];
    if (inside(k)) row.kept[k] = slab_row(x, slab, chain).y(row.targets[k] - slab.begin);
  }
  const VecF zero = {}, scale = splat(chain.scale), lse = splat(-row.lse), vG = splat(-G), slope = splat(chain.slope);
  const VecF dentropy = splat(-row.dentropy), entropy = splat(row.entropy);
  in_place(x, slab.width, [&](VecF logits) {
    const VecF y = capped ? chain.cap(logits) : logits;
    const VecF logp = fma(y, scale, lse);
    const VecF p = exp_of_shifted(logp);
    VecF d = vG * p;
    if (with_entropy) d += p == zero ? zero : dentropy * p * (logp + entropy);
    return capped ? d * slope * chain.bend(y) : d * slope;
  });
  for (int64_t k = 0; k < row.count; ++k) {
    if (!inside(k) || row.kept[k] == -INFINITY) continue;
    const int32_t target = row.targets[k];
    bool first = true;
    for (int64_t j = 0; j < k && first; ++j) first = row.targets[j] != target;
    if (!first) continue;
    float own = 0.0f;
    for (int64_t j = k; j < row.count; ++j) own += row.targets[j] == target ? row.dlogprobs[j] : 0.0f;
    const float bent = capped ? chain.slope * first_lane(chain.bend(splat(row.kept[k]))) : chain.slope;
    const float logp = row.logprobs[k];
    if (logp >= -0.28768207f) {  // p ≥ ¾: own − G p = (own − G) + G (1 − p) without cancellation
      float d = (own - G) - G * expm1f(logp);
      if (with_entropy) d -= row.dentropy * expf(logp) * (logp + row.entropy);
      x[target - slab.begin] = d * bent;
    } else {
      x[target - slab.begin] += own * bent;
    }
  }
}

// Equal pieces of at most kBlasColumns, each a whole number of 16 columns but for the last.
struct Pieces {
  int64_t columns, width, count;

  explicit Pieces(int64_t all) : columns(all) {
    const int64_t least = (all + kBlasColumns - 1) / kBlasColumns;
    width = ((all + least - 1) / least + 15) / 16 * 16;
    count = (all + width - 1) / width;
  }
  int64_t begin(int64_t piece) const { return piece * width; }
  int64_t length(int64_t piece) const { return columns - begin(piece) < width ? columns - begin(piece) : width; }
};

// dhidden [count, H] (+)= a · weight of the slab, and dweight of the slab += aᵀ · hidden; either may be null. By BLAS they are
// cut by columns, for a piece of fewer rows would pack as much of the weight; the longer pieces go first.
bool add_gradients(const Head& head, const RowBlock& block, const Slab& slab, const float* a, float* dhidden, float* dweight) {
  const int64_t M = block.count, H = head.H, width = slab.width;
  const float* weight = slab.weight;
  const bool accumulate = slab.begin > 0;
  if (!head.blas) {
    const Strided hidden = {block.hidden, H, 1};
    return (!dweight || multiply(width, H, M, {a, 1, kSlabStride}, hidden, dweight, H, true, nullptr)) &&
           (!dhidden || multiply(M, H, width, {a, kSlabStride, 1}, {weight, H, 1}, dhidden, H, accumulate, nullptr));
  }
  const Pieces of_hidden(H), of_weight(width);
  const int64_t first = dhidden ? of_hidden.count : 0;
  parallel_chunks(first + (dweight ? of_weight.count : 0), [&](int64_t task) {
    if (task < first) {
      const int64_t h = of_hidden.begin(task);
      sc_sgemm(false, false, M, of_hidden.length(task), width, a, kSlabStride, weight + h, H, accumulate ? 1.0f : 0.0f,
               dhidden + h, H);
    } else {
      const int64_t v = of_weight.begin(task - first);
      sc_sgemm(true, false, of_weight.length(task - first), H, M, a + v, kSlabStride, block.hidden, H, 1.0f, dweight + v * H,
               H);
    }
  });
  return true;
}

void add_dbias(const RowBlock& block, const Slab& slab, const float* a, float* dbias) {
  parallel_blocks(slab.width, kBlasColumns, [&](int64_t begin, int64_t end) {
    double sums[kBlasColumns] = {};
    for (int64_t i = 0; i < block.count; ++i)
      for (int64_t v = begin; v < end; ++v) sums[v - begin] += static_cast<double>(a[i * kSlabStride + v]);
    for (int64_t v = begin; v < end; ++v) dbias[v] += static_cast<float>(sums[v - begin]);
  });
}

bool backward(const LinearLogprobsBackwardArgs& args, float* copies, float* a, float* wide, float* dcopies, float* kept) {
  const HeadRows& rows = args.head;
  const Head head = head_of(rows);
  auto dentropy = [&](int64_t t) { return args.dentropy ? args.dentropy[t] : 0.0f; };
  auto has_gradient = [&](int64_t t) {
    if (!has_targets(rows, t) || args.lse[t] == -INFINITY) return false;
    bool any = dentropy(t) != 0.0f;
    for (int64_t n = rows.target_offsets[t]; n < rows.target_offsets[t + 1]; ++n)
      any = any || (rows.targets[n] != rows.ignore_index && args.dlogprobs[n] != 0.0f);
    return any;
  };
  return row_blocks(rows, copies, has_gradient, [&](const RowBlock& block) {
    const bool done = slabs(head, slab_columns(rows), wide, [&](const Slab& slab) {
      if (!project(head, block, slab, a)) return false;
      parallel_blocks(block.count, kRowsPerChunk, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t t = block.rows[i], first = rows.target_offsets[t];
          const RowGradient row = {chain_of(rows, t),
                                   rows.ignore_index,
                                   args.lse[t],
                                   dentropy(t),
                                   args.dentropy ? args.entropy[t] : 0.0f,
                                   rows.target_offsets[t + 1] - first,
                                   rows.targets + first,
                                   args.logprobs + first,
                                   args.dlogprobs + first,
                                   kept + first};
          gradient_in_place(row, slab, a + i * kSlabStride);
        }
      });
      if (args.dbias) add_dbias(block, slab, a, args.dbias + slab.begin);
      float* dweight = args.dweight ? args.dweight + slab.begin * head.H : nullptr;
      return add_gradients(head, block, slab, a, args.dhidden ? dcopies : nullptr, dweight);
    });
    for (int64_t i = 0; done && args.dhidden && i < block.count; ++i)
      memcpy(args.dhidden + block.rows[i] * head.H, dcopies + i * head.H, static_cast<size_t>(head.H) * sizeof(float));
    return done;
  });
}

float* floats(int64_t count) { return static_cast<float*>(malloc(static_cast<size_t>(count > 0 ? count : 1) * sizeof(float))); }

constexpr const char* kNoMemory = "no memory for a block of rows and a slab of logits";

// What both directions work in.
struct Workspace {
  float* copies;  // [rows, H] hidden states of a block
  float* y;       // [rows, kSlabStride] logits of a block and a slab
  float* wide;    // [columns, H] half weights of a slab

  explicit Workspace(const HeadRows& head) {
    const int64_t rows = head.T < kBlockRows ? head.T : kBlockRows;
    const int64_t columns = head.V < slab_columns(head) ? head.V : slab_columns(head);
    copies = floats(rows * head.H);
    y = floats(rows * kSlabStride);
    wide = floats(head.weight_dtype == kF32 ? 0 : columns * head.H);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() { free(copies), free(y), free(wide); }

  bool complete() const { return copies && y && wide; }
};

}  // namespace

int32_t linear_logprobs(const LinearLogprobsArgs* args, ScStream, ScError* error) {
  const Workspace work(args->head);
  bool done = work.complete();
  if (done)
    done = args->entropy ? forward<true>(*args, work.copies, work.y, work.wide)
                         : forward<false>(*args, work.copies, work.y, work.wide);
  return done ? 0 : fail(error, kNoMemory);
}

int32_t linear_logprobs_backward(const LinearLogprobsBackwardArgs* args, ScStream, ScError* error) {
  const HeadRows& head = args->head;
  if (args->dhidden) memset(args->dhidden, 0, static_cast<size_t>(head.T * head.H) * sizeof(float));
  if (!args->dhidden && !args->dweight && !args->dbias) return 0;
  const Workspace work(head);
  float* dcopies = floats(args->dhidden ? (head.T < kBlockRows ? head.T : kBlockRows) * head.H : 0);
  float* kept = floats(head.N);
  const bool done = work.complete() && dcopies && kept && backward(*args, work.copies, work.y, work.wide, dcopies, kept);
  free(dcopies);
  free(kept);
  return done ? 0 : fail(error, kNoMemory);
}

}  // namespace SC_ISA
