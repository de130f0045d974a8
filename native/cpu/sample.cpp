// sample. Greedy and the full distribution read the row as it is. Otherwise the support is gathered, in id order, into a
// shorter row that is sampled like any other. It is a prefix of the order (falling logit, rising id), so its last member tells
// whether an id belongs to it, and nothing has to be sorted.

#include <float.h>

#include "cpu.h"
#include "scratch.h"
#include "softmax_row.h"

namespace SC_ISA {

namespace {

// Logits per work item, at least one row.
constexpr int64_t kItemLogits = 16384;
// Candidates beyond which those that cannot be among the top k are dropped, in addition to 4 k.
constexpr int64_t kFewCandidates = 1024;

// Philox4x32-10: the first two words of the block for counter (stream, position, 0, 0), as a number in [0, 1).
double uniform(uint64_t seed, int32_t stream, int32_t position) {
  uint32_t c0 = static_cast<uint32_t>(stream), c1 = static_cast<uint32_t>(position), c2 = 0, c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = 0xD2511F53ull * c0, b = 0xCD9E8D57ull * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(b);
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return (c0 + c1 * 0x1p-32) * 0x1p-32;
}

// ── drawing

// e^((x − top) · scale) of one vector of logits; 0 in the lanes beyond the `count` that are in the row.
VecF weights_at(const float* x, int64_t count, float top, float scale) {
  if (count >= kLanes) return exp((load(x) - splat(top)) * splat(scale));
  float weights[kLanes];
  store(weights, exp((load_part(x, count, top) - splat(top)) * splat(scale)));
  return load_part(weights, count, 0.0f);
}

int64_t block_end(int64_t begin, int64_t V) { return begin + kSoftmaxBlock < V ? begin + kSoftmaxBlock : V; }

// The first id whose cumulative weight exceeds u · total; an id of weight 0 is never drawn.
int64_t draw(const float* x, int64_t V, float scale, const RowSums& sums, double u) {
  double threshold = u * sums.total();
  double carry = 0.0;
  int64_t chosen = -1;  // the block that crosses the threshold
  for (int64_t begin = 0; begin < V && chosen < 0; begin += kSoftmaxBlock) {
    const int64_t end = block_end(begin, V);
    VecF sum = {};
    for (int64_t v = begin; v < end; v += kLanes) sum += weights_at(x + v, end - v, sums.top, scale);
    const double mass = static_cast<double>(sum_lanes(sum));
    if (carry + mass > threshold) chosen = begin;
    if (chosen < 0) carry += mass;
  }
  // Should rounding leave no such block, or no such id in it: the last id of any weight, there or before.
  if (chosen < 0) {
    chosen = (V - 1) / kSoftmaxBlock * kSoftmaxBlock;
    threshold = INFINITY;
  }
  for (int64_t drawn = -1; chosen >= 0; chosen -= kSoftmaxBlock) {
    const int64_t end = block_end(chosen, V);
    for (int64_t base = chosen; base < end; base += kLanes) {
      const VecF weights = weights_at(x + base, end - base, sums.top, scale);
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        if (!(weights[lane] > 0.0f)) continue;
        drawn = base + lane;
        carry += static_cast<double>(weights[lane]);
        if (carry > threshold) return drawn;
      }
    }
    if (drawn >= 0) return drawn;
  }
  return -1;
}

// ── the support

struct Candidate {
  float logit;
  int32_t id;
  double weight;  // what select adds up
};

bool before(const Candidate& a, const Candidate& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

void swap(Candidate* a, Candidate* b) {
  const Candidate kept = *a;
  *a = *b;
  *b = kept;
}

// Moves the shortest prefix of the order whose weights reach `needed` to the front, in any order, and returns its length: at
// least 1, and all of them where they do not reach it. Quickselect; the pivots are random, so that no order of the ids is slow.
int64_t select(Candidate* candidates, int64_t count, double needed) {
  uint32_t random = 2463534242u;
  int64_t begin = 0, end = count;  // the prefix ends in begin + 1 … end
  while (end - begin > 1) {
    random ^= random << 13, random ^= random >> 17, random ^= random << 5;
    swap(candidates + begin, candidates + begin + random % static_cast<uint64_t>(end - begin));
    const Candidate pivot = candidates[begin];
    double ahead = 0.0;  // weights of the candidates before the pivot
    int64_t place = begin;
    for (int64_t i = begin + 1; i < end; ++i) {
      if (!before(candidates[i], pivot)) continue;
      ahead += candidates[i].weight;
      swap(candidates + ++place, candidates + i);
    }
    swap(candidates + begin, candidates + place);
    if (place > begin && ahead >= needed) {
      end = place;
    } else if (ahead + pivot.weight >= needed) {
      return place + 1;
    } else {
      needed -= ahead + pivot.weight;
      if (place + 1 == end) return end;
      begin = place + 1;
    }
  }
  return end;
}

const Candidate* last_of(const Candidate* candidates, int64_t count) {
  const Candidate* last = candidates;
  for (int64_t i = 1; i < count; ++i)
    if (before(*last, candidates[i])) last = candidates + i;
  return last;
}

// body(v) in order for every x[v] ≥ floor; `floor` may rise meanwhile. Blocks without any are passed over.
template <class Body>
void for_each_reaching(const float* x, int64_t V, const float& floor, const Body& body) {
  constexpr int64_t block = 256;
  for (int64_t begin = 0; begin < V; begin += block) {
    const int64_t end = begin + block < V ? begin + block : V;
    if (end - begin == block) {
      VecF tops[2] = {load(x + begin), load(x + begin + kLanes)};
      for (int64_t i = 2 * kLanes; i < block; i += 2 * kLanes)
        for (int64_t u = 0; u < 2; ++u) tops[u] = max(tops[u], load(x + begin + i + u * kLanes));
      if (max_lanes(max(tops[0], tops[1])) < floor) continue;
    }
    for (int64_t v = begin; v < end; ++v)
      if (x[v] >= floor) body(v);
  }
}

// A logit that every member of the support reaches: p ≥ min_p · max p, and what has p < (1 − top_p) / V adds up to less than
// 1 − top_p. The factors leave room for rounding.
float support_floor(const SampleArgs& args, const RowSums& sums) {
  double least = 0.0;
  if (args.min_p > 0.0f) least = 0.999 * static_cast<double>(args.min_p);
  if (args.top_p < 1.0f) {
    const double bound = 0.5 * (1.0 - static_cast<double>(args.top_p)) * sums.total() / static_cast<double>(args.V);
    if (bound > least) least = bound;
  }
  if (least <= 0.0) return -FLT_MAX;
  if (least > 0.5) least = 0.5;
  return static_cast<float>(static_cast<double>(sums.top) + log(least) * static_cast<double>(args.temperature) * 1.000001) -
         1e-6f * fabsf(sums.top);
}

struct Support {
  float* logits;
  int32_t* ids;
  int64_t count;
};

// Gathers the support of a row of finite or −∞ logits. `candidates` and the arrays of the support have room for V.
void gather_support(const SampleArgs& args, const float* x, const RowSums& sums, Candidate* candidates, Support* support) {
  const int64_t V = args.V, k = args.top_k > 0 && args.top_k < V ? args.top_k : V;
  const int64_t most = 4 * k + kFewCandidates;
  float floor = support_floor(args, sums);
  int64_t count = 0;
  for_each_reaching(x, V, floor, [&](int64_t v) {
    candidates[count++] = {x[v], static_cast<int32_t>(v), 1.0};
    if (count < most) return;
    // Of those to come only what exceeds the k-th so far counts: a tie goes to the lower id.
    count = select(candidates, count, static_cast<double>(k));
    floor = nextafterf(last_of(candidates, count)->logit, INFINITY);
  });
  if (k < count) count = select(candidates, count, static_cast<double>(k));
  if (args.top_p < 1.0f || args.min_p > 0.0f) {
    for (int64_t i = 0; i < count; ++i)
      candidates[i].weight = ::exp((static_cast<double>(candidates[i].logit) - static_cast<double>(sums.top)) /
                                   static_cast<double>(args.temperature));
  }
  if (args.top_p < 1.0f) count = select(candidates, count, static_cast<double>(args.top_p) * sums.total());
  if (args.min_p > 0.0f) {
    const double least = args.min_p < 1.0f ? static_cast<double>(args.min_p) : 1.0;
    int64_t kept = 0;
    for (int64_t i = 0; i < count; ++i)
      if (candidates[i].weight >= least) candidates[kept++] = candidates[i];
    count = kept;
  }
  const Candidate last = *last_of(candidates, count);
  support->count = 0;
  for_each_reaching(x, V, last.logit, [&](int64_t v) {
    if (x[v] == last.logit && v > last.id) return;
    support->ids[support->count] = static_cast<int32_t>(v);
    support->logits[support->count++] = x[v];
  });
}

// ── a row

struct Sampled {
  int32_t token;
  float logprob;
  float support_logprob;
};

int32_t first_equal(const float* x, int64_t V, float value) {
  for (int64_t v = 0; v < V; ++v)
    if (x[v] == value) return static_cast<int32_t>(v);
  return -1;
}

// `candidates` is null where nothing cuts the support.
Sampled sample_row(const SampleArgs& args, int64_t r, Candidate* candidates, Support* support) {
  const float* const x = static_cast<const float*>(args.logits) + r * args.V;
  const bool greedy = args.temperature == 0.0f;
  const float inverse = 1.0f / args.temperature;
  const float scale = greedy ? 1.0f : inverse > FLT_MAX ? FLT_MAX : inverse;
  const RowSums sums = sum_row<false, false>(x, args.V, scale);
  // NaN, nothing but −∞, or a logit of +∞, where no distribution is left.
  if (!(fabsf(sums.top) < INFINITY) || sums.rest != sums.rest) return {-1, NAN, NAN};
  if (greedy) return {first_equal(x, args.V, sums.top), row_logprob(sums, sums.top, 1.0f), 0.0f};

  const double u = uniform(static_cast<uint64_t>(args.seed), args.streams[r], args.positions[r]);
  if (!candidates) {
    const int64_t token = draw(x, args.V, scale, sums, u);
    const float logprob = row_logprob(sums, x[token], scale);
    return {static_cast<int32_t>(token), logprob, logprob};
  }
  gather_support(args, x, sums, candidates, support);
  const RowSums kept = sum_row<false, false>(support->logits, support->count, scale);
  const int64_t drawn = draw(support->logits, support->count, scale, kept, u);
  const float logit = support->logits[drawn];
  return {support->ids[drawn], row_logprob(sums, logit, scale), row_logprob(kept, logit, scale)};
}

}  // namespace

int32_t sample(const SampleArgs* args, ScStream, ScError* error) {
  const int64_t V = args->V;
  const bool limits_k = args->top_k > 0 && args->top_k < V;
  const bool cuts = args->temperature != 0.0f && (limits_k || args->top_p < 1.0f || args->min_p > 0.0f);
  const size_t bytes = cuts ? static_cast<size_t>(V) * (sizeof(Candidate) + sizeof(float) + sizeof(int32_t)) : 0;
  const int64_t rows = V >= kItemLogits ? 1 : kItemLogits / (V > 0 ? V : 1);
  return parallel_with_scratch((args->R + rows - 1) / rows, bytes, error, [&](int64_t item, void* memory) {
    Candidate* const candidates = cuts ? static_cast<Candidate*>(memory) : nullptr;
    Support support = {nullptr, nullptr, 0};
    if (cuts) {
      support.logits = reinterpret_cast<float*>(candidates + V);
      support.ids = reinterpret_cast<int32_t*>(support.logits + V);
    }
    const int64_t end = (item + 1) * rows < args->R ? (item + 1) * rows : args->R;
    for (int64_t r = item * rows; r < end; ++r) {
      const Sampled sampled = sample_row(*args, r, candidates, &support);
      args->tokens[r] = sampled.token;
      args->logprobs[r] = sampled.logprob;
      if (args->support_logprobs) args->support_logprobs[r] = sampled.support_logprob;
    }
  });
}

}  // namespace SC_ISA
