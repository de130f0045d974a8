// policy_update_*: logits to dlogits. A loss with one ratio per target needs
// nothing of another row: a block of threads makes the log-probs of a row, the
// loss of its targets and its gradient one after the other. It keeps as much of
// the row as it may in shared memory; the rest, read last, is read again first,
// from the second cache: few blocks are on the device at a time, so what they
// do not keep fits there. The metrics are summed by the pass of the loss op,
// over targets. A loss that needs its whole sequence goes through the three
// ops.

#include "launch.cuh"
#include "logit_gradient.cuh"
#include "logprobs.cuh"
#include "losses.cuh"
#include "shared_rows.cuh"
#include "table.cuh"

namespace gpu {

namespace {

// What a row needs, whatever the form of its loss.
struct UpdateRows {
  LogitRows rows;
  TokenForm form;
  IgnoredTargets ignored;
  PolicyLossTargets targets;
  const float* entropy_weights;
  float* logprobs;
  float* lse;
  float* entropy;  // null: nobody wants it
  float* kept_y;   // [N] scratch memory
  void* dlogits;
};

// Log-probs, lse and entropy of a row from its sums, the loss of its targets, and what its gradient is made of; every thread
// gets it.
template <int kThreads, class Element>
__device__ RowUpstream measured(const UpdateRows& args, const LogitRow<Element>& row, const RowTotals& totals, int64_t t) {
  const int64_t first = args.rows.target_offsets[t];
  for (int64_t k = threadIdx.x; k < row.count; k += kThreads) {
    args.logprobs[first + k] = target_logprob(row, totals.support, k);
    LossSums not_kept = {};
    loss_of_target(args.targets, args.form, inputs_at(args.targets, args.ignored, first + k), &not_kept);
  }
  const float entropy = args.entropy ? row_entropy(totals.full) : 0.0f;
  if (threadIdx.x == 0) {
    args.lse[t] = row_lse(totals.support, row.chain.scale);
    if (args.entropy) args.entropy[t] = entropy;
  }
  __syncthreads();  // every target's gradient is there
  return {normaliser_of(totals.support),
          normaliser_of(totals.full),
          args.targets.dlogprobs + first,
          args.entropy_weights ? -args.entropy_weights[t] : 0.0f,
          entropy,
          static_cast<float>(totals.support.rest / totals.support.total())};
}

template <int kThreads>
__device__ void write_no_logprobs(const UpdateRows& args, int64_t t) {
  for (int64_t n = args.rows.target_offsets[t] + threadIdx.x; n < args.rows.target_offsets[t + 1]; n += kThreads)
    args.logprobs[n] = 0.0f;
}

// kept: elements of a row that stay on the chip.
template <class Element, int kThreads>
__global__ void __launch_bounds__(kThreads, kResidentThreads / kThreads) update_row(UpdateRows args, int64_t kept) {
  const int64_t t = blockIdx.x;
  LogitRow<Element> row = logit_row<Element>(args.rows, t);
  row.kept_vectors = {dynamic_shared<Wide<Element>>(), kept, false};
  Element* const out = static_cast<Element*>(args.dlogits) + t * row.V;
  if (!row.has_targets()) {
    write_no_logprobs<kThreads>(args, t);
    return clear_row<kThreads>(out, row.V);
  }
  const RowTotals totals = args.entropy ? totals_of<kThreads, true>(row) : totals_of<kThreads, false>(row);
  row = row.again();
  __syncthreads();  // the row is on the chip
  row_gradient<kThreads>(row, measured<kThreads>(args, row, totals, t), args.kept_y + args.rows.target_offsets[t], out);
}

template <class Element, int kThreads>
__global__ void __launch_bounds__(kThreads, 1) plan_update(UpdateRows args, SharedRows shared) {
  const int64_t t = blockIdx.x;
  const LogitRow<Element> row = logit_row<Element>(args.rows, t);
  GradientPlan plan = no_gradient();
  if (row.has_targets()) {
    const RowTotals totals = totals_of_segments<kThreads, true>(shared, row, t);
    plan = gradient_plan<kThreads>(row, measured<kThreads>(args, row, totals, t), args.kept_y + args.rows.target_offsets[t]);
  } else {
    write_no_logprobs<kThreads>(args, t);
  }
  if (threadIdx.x == 0) shared.plans[t] = plan;
}

// Of a block: what the runtime takes, and what its reductions do.
constexpr size_t kReservedShared = 1024, kReductionShared = 2048;

// Elements of a row that a block of `threads` may keep: whole steps of the block.
template <class Element>
int64_t most_kept(const Queue& queue, int threads) {
  const size_t of_block = (queue.shared_bytes + kReservedShared) / static_cast<size_t>(kResidentThreads / threads);
  const size_t taken = kReservedShared + kReductionShared;
  const int64_t step = threads * Wide<Element>::kCount, bytes = static_cast<int64_t>(sizeof(Wide<Element>)) * threads;
  return of_block > taken ? static_cast<int64_t>(of_block - taken) / bytes * step : 0;
}

void enqueue_rows(const UpdateRows& args, const Queue& queue, void* memory) {
  if (args.rows.T == 0 || args.rows.V == 0) return;
  with_element(args.rows.dtype, [&](auto type) {
    using Element = typename decltype(type)::Element;
    with_row_threads(args.rows.V, [&](auto threads) {
      constexpr int kThreads = decltype(threads)::kCount;
      const unsigned blocks = static_cast<unsigned>(args.rows.T);
      if (rows_are_shared(queue, args.rows, kThreads)) {
        const SharedRows shared = shared_rows_in(memory, args.rows, kThreads);
        enqueue_segment_sums<Element, kThreads>(args.rows, shared, args.entropy != nullptr, queue.stream);
        launch(plan_update<Element, kThreads>, {blocks, kThreads}, queue.stream, args, shared);
        return enqueue_shared_gradient<Element, kThreads>(args.rows, shared, args.kept_y, args.dlogits, queue.stream);
      }
      const auto kernel = update_row<Element, kThreads>;
      const int64_t most = most_kept<Element>(queue, kThreads), step = kThreads * Wide<Element>::kCount;
      const int64_t whole = (args.rows.V + step - 1) / step * step, kept = whole < most ? whole : most;
      ask_for_shared(kernel, static_cast<size_t>(most) * sizeof(Element));
      launch(kernel, {blocks, kThreads, static_cast<size_t>(kept) * sizeof(Element)}, queue.stream, args, kept);
    });
  });
}

// −Σ entropy_weights · entropy over the rows with a target that counts, as
// partial sums of the loss.
__global__ void __launch_bounds__(kLossThreads)
    entropy_of_rows(LogitRows rows, const float* entropy_weights, const float* entropy, LossSums* partial) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTargetBlock;
  LossSums sums = {};
  for (int64_t t = begin + threadIdx.x; t < begin + kTargetBlock && t < rows.T; t += kLossThreads) {
    bool counts = false;
    for (int64_t n = rows.target_offsets[t]; n < rows.target_offsets[t + 1] && !counts; ++n)
      counts = rows.targets[n] != rows.ignore_index;
    const float weight = counts ? entropy_weights[t] : 0.0f;
    if (weight != 0.0f) sums.of[kMetricLoss] -= static_cast<double>(weight) * static_cast<double>(entropy[t]);
  }
  keep_sums(sums, blockIdx.x, partial);
}

// The scratch memory of an update: what blocks that share rows leave there;
// partial sums of the loss, then those of the entropies; a number per target;
// entropies where the caller wants none.
struct UpdateScratch {
  void* shared;
  LossSums* partial;
  int64_t loss_sums, entropy_sums;
  float* kept_y;
  float* entropy;  // null: nobody wants it
};

template <class Loss>
bool take_scratch(const PolicyUpdateArgs<Loss>& args, int64_t loss_sums, Queue* queue, const char* op, UpdateScratch* taken,
                  ScError* error) {
  const bool bonus = args.entropy_weights != nullptr;
  const int64_t sums = loss_sums + (bonus ? target_blocks(args.rows.T) : 0);
  const int64_t floats = args.rows.N + (bonus && !args.entropy ? args.rows.T : 0);
  const size_t shared = (shared_rows_bytes(*queue, args.rows) + 255) / 256 * 256;
  const size_t bytes = static_cast<size_t>(sums + 1) * sizeof(LossSums) + static_cast<size_t>(floats) * sizeof(float);
  char* const memory = static_cast<char*>(scratch(queue, shared + bytes, op, error));
  if (!memory) return false;
  LossSums* const partial = reinterpret_cast<LossSums*>(memory + shared);
  float* const kept_y = reinterpret_cast<float*>(partial + sums + 1);
  *taken = {memory, partial, loss_sums, sums - loss_sums, kept_y, args.entropy || !bonus ? args.entropy : kept_y + args.rows.N};
  return true;
}

template <class Loss>
void enqueue_metrics(const PolicyUpdateArgs<Loss>& args, const UpdateScratch& taken, cudaStream_t stream) {
  if (taken.entropy_sums > 0)
    launch(entropy_of_rows, {static_cast<unsigned>(taken.entropy_sums), kLossThreads}, stream, args.rows, args.entropy_weights,
           static_cast<const float*>(taken.entropy), taken.partial + taken.loss_sums);
  enqueue_sum(taken.partial, taken.loss_sums + taken.entropy_sums, args.loss.targets.metrics, stream);
}

template <class Loss>
int32_t update_tokens(const PolicyUpdateArgs<Loss>& args, const TokenForm& form, const char* op, ScStream stream,
                      ScError* error) {
  Queue& queue = queue_of(stream);
  UpdateScratch taken;
  if (!take_scratch(args, target_blocks(args.loss.targets.N), &queue, op, &taken, error)) return 1;
  PolicyLossTargets targets = args.loss.targets;
  targets.logprobs = args.logprobs;
  const IgnoredTargets ignored = ignored_of(args.rows);
  enqueue_rows({args.rows, form, ignored, targets, args.entropy_weights, args.logprobs, args.lse, taken.entropy, taken.kept_y,
                args.dlogits},
               queue, taken.shared);
  enqueue_token_loss(targets, form, ignored, taken.partial, queue.stream);
  enqueue_metrics(args, taken, queue.stream);
  return launched(&queue, op, error);
}

template <class Loss>
int32_t update_sequences(const PolicyUpdateArgs<Loss>& args, const char* op, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  UpdateScratch taken;
  if (!take_scratch(args, args.loss.sequences.B, &queue, op, &taken, error)) return 1;
  Loss loss = args.loss;
  loss.targets.logprobs = args.logprobs;
  enqueue_logprobs({args.rows, args.lse, args.logprobs, taken.entropy, nullptr}, queue, taken.shared);
  enqueue_sequence_loss(loss, ignored_of(args.rows), taken.partial, queue.stream);
  enqueue_metrics(args, taken, queue.stream);
  enqueue_logprobs_backward({args.rows, args.lse, taken.entropy, loss.targets.dlogprobs, args.entropy_weights, args.dlogits},
                            -1.0f, taken.kept_y, queue, taken.shared);
  return launched(&queue, op, error);
}

}  // namespace

int32_t policy_update_clip(const PolicyUpdateArgs<PolicyLossClipArgs>* args, ScStream stream, ScError* error) {
  return update_tokens(*args, token_form(args->loss), "policy_update_clip", stream, error);
}

int32_t policy_update_cispo(const PolicyUpdateArgs<PolicyLossCispoArgs>* args, ScStream stream, ScError* error) {
  return update_tokens(*args, token_form(args->loss), "policy_update_cispo", stream, error);
}

int32_t policy_update_sapo(const PolicyUpdateArgs<PolicyLossSapoArgs>* args, ScStream stream, ScError* error) {
  return update_tokens(*args, token_form(args->loss), "policy_update_sapo", stream, error);
}

int32_t policy_update_reinforce(const PolicyUpdateArgs<PolicyLossReinforceArgs>* args, ScStream stream, ScError* error) {
  return update_tokens(*args, token_form(args->loss), "policy_update_reinforce", stream, error);
}

int32_t policy_update_dppo_tv(const PolicyUpdateArgs<PolicyLossDppoArgs>* args, ScStream stream, ScError* error) {
  return update_tokens(*args, dppo_tv_form(args->loss), "policy_update_dppo_tv", stream, error);
}

int32_t policy_update_dppo_kl(const PolicyUpdateArgs<PolicyLossDppoArgs>* args, ScStream stream, ScError* error) {
  return update_tokens(*args, dppo_kl_form(args->loss), "policy_update_dppo_kl", stream, error);
}

int32_t policy_update_sequence_clip(const PolicyUpdateArgs<PolicyLossSequenceClipArgs>* args, ScStream stream, ScError* error) {
  return update_sequences(*args, "policy_update_sequence_clip", stream, error);
}

int32_t policy_update_gspo_token(const PolicyUpdateArgs<PolicyLossGspoTokenArgs>* args, ScStream stream, ScError* error) {
  return update_sequences(*args, "policy_update_gspo_token", stream, error);
}

int32_t policy_update_gmpo(const PolicyUpdateArgs<PolicyLossGmpoArgs>* args, ScStream stream, ScError* error) {
  return update_sequences(*args, "policy_update_gmpo", stream, error);
}

int32_t policy_update_vespo(const PolicyUpdateArgs<PolicyLossVespoArgs>* args, ScStream stream, ScError* error) {
  return update_sequences(*args, "policy_update_vespo", stream, error);
}

}  // namespace gpu
