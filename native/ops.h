// The contract: one argument record and one header comment per kernel. Every backend fills the same table (backend.h)
// with functions that take these records. Nothing here knows Node, trees, configurations or losses by name.
//
// Shapes use one letter per dimension everywhere:
//   T packed positions · N targets · S credit rows · V vocabulary · H hidden · R rows of a sampling or decoding batch
// Arrays are flat, row-major, last axis contiguous. Indices are i32, offsets such as t * V are computed in 64 bits.
// A pointer marked `opt` may be null. Pointers live on the backend's device.

#ifndef STEPCREDIT_OPS_H
#define STEPCREDIT_OPS_H

#include <stdint.h>

enum ScDtype : int32_t { kF32 = 0, kBf16 = 1, kF16 = 2 };

// ─────────────────────────────────────────────────────────────────────────────────────────────── log-probabilities

// LogitRows — rows of logits, what is done to a logit before the softmax, and the targets of the rows. Shared by logprobs,
// logprobs_backward and the policy updates.
//
//   y[t, v] = logit_scale · logits[t, v],  then y ← softcap · tanh(y / softcap) if softcap > 0
//   z[t, v] = y[t, v] / temperature
//
//   logits         [T, V]          f32 | bf16 | f16   in
//   target_offsets [T + 1]         i32   in     row t owns targets[target_offsets[t] … target_offsets[t + 1])
//   targets        [N]             i32   in     0 ≤ target < V, or ignore_index: ignored, without a log-probability
//   temperatures   [T]             f32   in     opt; else `temperature` for every row
//   keep           [T, ⌈V / 8⌉]    u8    in     opt; bit v % 8 of byte v / 8 of a row: whether v is in the row's support K[t].
//                                               Absent: all of the vocabulary. A row's spare bits are not read.
struct LogitRows {
  int64_t T, N, V;
  int32_t dtype;         // of the logits: ScDtype
  int32_t ignore_index;  // −1: none
  float temperature;
  float logit_scale;  // > 0
  float softcap;      // 0: none
  const void* logits;
  const int32_t* target_offsets;
  const int32_t* targets;
  const float* temperatures;
  const uint8_t* keep;
};

// logprobs — log-probability of every target under the policy.
//
//   Z(n)        = log Σ_{v ∈ K[t] ∪ {targets[n]}} exp(z[t, v])          z, K: LogitRows; t: the row that owns n
//   logprobs[n] = z[t, targets[n]] − Z(n)                               an ignored target: 0
//   lse[t]      = log Σ_{v ∈ K[t]} exp(z[t, v])
//   entropy[t]  = −Σ_v p[t, v] log p[t, v],  0 · (−∞) = 0               p = softmax(z) over the whole vocabulary
//   sum_squares[t] = Σ_v p[t, v]²
//
//   lse            [T]       f32   out    kept for the backward
//   logprobs       [N]       f32   out
//   entropy        [T]       f32   out    opt
//   sum_squares    [T]       f32   out    opt
//   lse, entropy, sum_squares of rows without a target that counts are untouched
//
// Traffic    one read of each row that has targets: V · sizeof(logits) each; writes 4 (T + N) bytes.
// Numerics   f32, running maximum; the maximum's own 1 is kept apart from the rest of the sum, so that a confident
//            target keeps its relative accuracy (log1p). A −∞ logit is masked vocabulary; a −∞ target gives −∞; an
//            all −∞ row gives lse −∞ and NaN log-probs never: −∞. A NaN logit makes its row NaN.
// Order      fixed reduction order inside a row; a row's bits depend on that row alone.
// Source     Milakov & Gimelshein 2018, arXiv:1805.02867, Algorithm 3.
struct LogprobsArgs {
  LogitRows rows;
  float* lse;
  float* logprobs;
  float* entropy;
  float* sum_squares;
};

// logprobs_backward — gradient of Σ_n dlogprobs[n] · logprobs[n] + Σ_t dentropy[t] · entropy[t].
//
//   dz[t, v]      = Σ_n dlogprobs[n] (1[v = targets[n]] − q[n, v]) − dentropy[t] p[t, v] (log p[t, v] + entropy[t])
//                   q[n, v] = exp(z[t, v] − Z(n)) on the support of n, 0 elsewhere; ignored targets are left out
//   dlogits[t, v] = dz[t, v] / temperature · logit_scale · (softcap > 0 ? 1 − (y[t, v] / softcap)² : 1)
//
//   lse            [T]      f32   in
//   entropy        [T]      f32   in     needed where dentropy is given
//   dlogprobs      [N]      f32   in
//   dentropy       [T]      f32   in     opt
//   dlogits        [T, V]   as the logits   out    may be the logits; rows without a target that counts are zero
//
// Traffic    one read and one write of each row.
// Numerics   f32 inside, rounded to nearest even at the end. 1 − q of a target with q ≥ ¾ is the sum of the others, so it does
//            not cancel. Exactly 0 at −∞ logits, and in rows whose gradients are all 0. Probabilities below 2.7e-38 are 0.
struct LogprobsBackwardArgs {
  LogitRows rows;
  const float* lse;
  const float* entropy;
  const float* dlogprobs;
  const float* dentropy;
  void* dlogits;
};

// HeadRows — hidden states, the linear head that makes logits of them, and the targets of the rows.
//
//   hidden         [T, H]    f32 | bf16 | f16   in
//   weight         [V, H]    f32 | bf16 | f16   in
//   bias           [V]       f32   in     opt; −∞ masks vocabulary where there is no softcap (under one it becomes −softcap)
//   everything else as in LogitRows
struct HeadRows {
  int64_t T, N, V, H;
  int32_t portable;  // 1: the portable product even where BLAS is at hand
  int32_t hidden_dtype;
  int32_t weight_dtype;
  int32_t ignore_index;  // −1: none
  float temperature;
  float logit_scale;  // > 0
  float softcap;      // 0: none
  const void* hidden;
  const void* weight;
  const float* bias;
  const int32_t* target_offsets;
  const int32_t* targets;
  const float* temperatures;
};

// linear_logprobs — logprobs of the logits of a linear head, without ever holding [T, V].
//
//   logits[t, v] = Σ_h hidden[t, h] weight[v, h] + bias[v]
//   lse, logprobs, entropy   as in logprobs of these logits
//
// Traffic    the weight once per 256 rows that have targets. Scratch memory: 256 rows × 4096 columns of logits, 256 rows of
//            hidden states, a packed piece of the weight and, of half weights, 4096 rows in f32 (2048 where H > 1024), whatever
//            T, V and the threads are.
// Numerics   those of linear and logprobs.
// Order      columns in slabs of 4096, in order. With the portable product a row's bits depend on that row alone, and are those
//            of linear followed by logprobs; with BLAS on its blocking.
struct LinearLogprobsArgs {
  HeadRows head;
  float* lse;
  float* logprobs;
  float* entropy;
};

// linear_logprobs_backward — gradient of Σ_n dlogprobs[n] · logprobs[n] + Σ_t dentropy[t] · entropy[t]. The logits are
// computed again, slab by slab.
//
//   a[t, v]       = dlogits[t, v] of logprobs_backward
//   dhidden[t, h] = Σ_v a[t, v] weight[v, h];   dweight[v, h] += Σ_t a[t, v] hidden[t, h];   dbias[v] += Σ_t a[t, v]
//
//   lse            [T]       f32   in
//   logprobs       [N]       f32   in     of the forward
//   entropy        [T]       f32   in     needed where dentropy is given
//   dlogprobs      [N]       f32   in
//   dentropy       [T]       f32   in     opt
//   dhidden        [T, H]    f32   out    opt; overwritten, 0 in rows without targets
//   dweight        [V, H]    f32   in/out opt; added to
//   dbias          [V]       f32   in/out opt; added to
//
// Traffic    the weight twice, and dweight read and written once, per 256 rows that have a gradient. Scratch memory as in the
//            forward, and 4 N bytes.
// Numerics   1 − p of a target with p ≥ ¾ is −expm1(logprob), so it does not cancel. Rows whose gradients are all 0 are
//            skipped: what they hold is not read. Exactly 0 from masked vocabulary.
// Order      dhidden: over v as linear_backward. dweight: over the rows with a gradient, in order, a running f32 sum per 256 of
//            them. dbias: f64 per 256 of them.
struct LinearLogprobsBackwardArgs {
  HeadRows head;
  const float* lse;
  const float* logprobs;
  const float* entropy;
  const float* dlogprobs;
  const float* dentropy;
  float* dhidden;
  float* dweight;
  float* dbias;
};

// ───────────────────────────────────────────────────────────────────────────────────────────────────── credit and loss

// scatter_advantages — the credit of a target's step, as a gather over targets.
//
//   advantages[n, c] = step_of[n] < 0 ? 0 : step_credits[step_of[n], c]        c = 0: Σ positive, c = 1: Σ negative
//
//   step_credits   [S, 2]   f32   in
//   step_of        [N]      i32   in     −1: the target carries no credit
//   advantages     [N, 2]   f32   out
//
// Traffic    reads 4 N + 8 S, writes 8 N bytes. Targets of one step side by side are read and written as vectors.
struct ScatterAdvantagesArgs {
  int64_t N, S;
  const float* step_credits;
  const int32_t* step_of;
  float* advantages;
};

// scatter_advantages_backward — the transpose: dstep_credits[s, c] = Σ_{n : step_of[n] = s} dadvantages[n, c].
//
//   dadvantages    [N, 2]   f32   in
//   step_of        [N]      i32   in
//   dstep_credits  [S, 2]   f32   out
//
// Traffic    reads 12 N, writes 8 S bytes. Scratch memory: 16 S bytes and, with several threads, 32 for each of 262144 targets.
// Order      f64. The targets of a step that lie side by side, cut at every 8192nd target, are a run: four sums, each of every
//            fourth of its targets. Runs are added in order, so the bits depend on neither threads nor instruction set.
struct ScatterAdvantagesBackwardArgs {
  int64_t N, S;
  const float* dadvantages;
  const int32_t* step_of;
  float* dstep_credits;
};

// scatter_advantages_by_offsets — the same where the targets of a step lie side by side.
//
//   advantages[n, c] = step_credits[s, c] for step_offsets[s] ≤ n < step_offsets[s + 1];   0 outside all steps
//
//   step_credits   [S, 2]    f32   in
//   step_offsets   [S + 1]   i32   in     0 ≤ step_offsets[0] ≤ … ≤ step_offsets[S] ≤ N
//   advantages     [N, 2]    f32   out
//
// Traffic    reads 12 S, writes 8 N bytes.
struct ScatterByOffsetsArgs {
  int64_t N, S;
  const float* step_credits;
  const int32_t* step_offsets;
  float* advantages;
};

// scatter_advantages_by_offsets_backward — the transpose.
//
//   dstep_credits[s, c] = Σ_{step_offsets[s] ≤ n < step_offsets[s + 1]} dadvantages[n, c]
//
//   dadvantages    [N, 2]    f32   in
//   step_offsets   [S + 1]   i32   in
//   dstep_credits  [S, 2]    f32   out    accumulated in f64 in the order of n
struct ScatterByOffsetsBackwardArgs {
  int64_t N, S;
  const float* dadvantages;
  const int32_t* step_offsets;
  float* dstep_credits;
};

// The estimator of KL(policy ‖ reference) at a sampled token, with d = ref_logprob − logprob. Schulman 2020, "Approximating
// KL divergence". The straight-through forms have the value of one estimator and the gradient of k2 (= that of the true KL
// under the sampling policy).
//   k1 = −d      abs = |d|      k2 = d²/2      k3 = e^d − d − 1
enum ScKl : int32_t { kKlNone = 0, kKl1 = 1, kKl2 = 2, kKl3 = 3, kKlAbs = 4, kKl1Straight = 5, kKl3Straight = 6 };

// kl — value and gradient of an estimator per target.
//
//   d     clamped to ± log_ratio_clamp, then the value to ± value_clamp; the gradient is 0 where a clamp is active. The
//         straight-through forms clamp the value alone: their gradient is that of k2 of the free d. k3 and its slope saturate
//         at the largest float.
//   logprobs, ref_logprobs [N] f32 in · dkl [N] f32 in opt (1) · kl [N] f32 out · dlogprobs [N] f32 out = dkl · ∂kl/∂logprob
struct KlArgs {
  int64_t N;
  int32_t kind;
  float log_ratio_clamp;  // +∞: none
  float value_clamp;      // +∞: none
  const float* logprobs;
  const float* ref_logprobs;
  const float* dkl;
  float* kl;
  float* dlogprobs;
};

// What a loss kernel sums beside its gradients, in f64, over the targets whose weight is not 0.
enum ScLossMetric : int32_t {
  kMetricLoss = 0,     // Σ of the weighted loss: the number that is minimised
  kMetricCount,        // targets with weight ≠ 0
  kMetricClipped,      // the clipped branch is the larger loss
  kMetricClippedLow,   // min(ratio, delta) < 1 − eps_low and A < 0; of another form as it says
  kMetricClippedHigh,  // min(ratio, delta) > 1 + eps_high and A > 0
  kMetricClippedDual,  // the dual clip bounds the loss
  kMetricNegLogRatio,  // Σ −log ratio                     (its mean is the k1 estimate of KL(old ‖ new))
  kMetricAbsLogRatio,  // Σ |log ratio|
  kMetricApproxKl,     // Σ (ratio − 1) − log ratio        (k3 estimate)
  kMetricRatio,        // Σ ratio
  kMetricRatioMax,     // max ratio
  kMetricKl,           // Σ of the KL term to the reference, times the ratio where that is asked, before its coefficient
  kLossMetrics
};

// What every policy loss takes per target, and writes. With l[n] the surrogate of target n and x[n] its log ratio,
//
//   x     = logprobs − old_logprobs, clamped to ± log_ratio_clamp          ratio = exp(x)
//   l[n]  = l(A⁺[n]) + l(A⁻[n])
//   loss  = Σ_n weights[n] ( multipliers[n] l[n] + kl_coef · kl[n] · (kl_times_ratio ? ratio : 1) )
//   dlogprobs[n] = ∂loss/∂logprobs[n];   old, reference, advantages, weights and multipliers are constants
//
//   logprobs, old_logprobs [N] f32 in
//   advantages    [N, C]   f32   in    C = 2: (A⁺ ≥ 0, A⁻ ≤ 0), a target shared by several rollouts is clipped on each side
//                                      apart; C = 1: one advantage of any sign, l[n] = l(A[n])
//   weights       [N]      f32   in    the normaliser (1/N for a token mean, …); 0: absent, whatever the other arrays hold
//   multipliers   [N]      f32   in    opt; importance weights, masks of the surrogate alone
//   ref_logprobs  [N]      f32   in    opt; needed where kl_kind ≠ kKlNone
//   dlogprobs     [N]      f32   out
//   ratios        [N]      f32   out   opt; 0 where absent
//   metrics       [kLossMetrics] f64 out
//
// Traffic    reads 12 + 4 C bytes per target, 4 more for multipliers and reference each; writes 4, with ratios 8. The forms
//            with a ratio per sequence read a sequence again from cache.
// Numerics   branches on decisions: never 0 · ∞. Ratios, losses and slopes saturate at the largest float, so everything is
//            finite for |x| and |logprobs| up to 1e4.
// Order      a target's bits depend on that target alone (on its sequence, where there are sequences). Sums are f64, lane by
//            lane in fixed blocks of targets, added in order: they depend on the instruction set, not on the threads.
struct PolicyLossTargets {
  int64_t N;
  int64_t advantage_columns;  // C
  int32_t kl_kind;
  int32_t kl_times_ratio;
  float log_ratio_clamp;  // +∞: none
  float kl_coef;
  float kl_log_ratio_clamp;
  float kl_value_clamp;
  const float* logprobs;
  const float* old_logprobs;
  const float* ref_logprobs;
  const float* advantages;
  const float* weights;
  const float* multipliers;
  float* dlogprobs;
  float* ratios;
  double* metrics;
};

// Sequence b owns the targets offsets[b] … offsets[b + 1]; from 0 to N, never falling.
struct SequenceSpans {
  int64_t B;
  const int32_t* offsets;  // [B + 1]
};

// policy_loss_clip — the clipped surrogate and its gradient, per target.
//
//   l(A)  = max(−A min(ratio, delta), −A clip(ratio, 1 − eps_low, 1 + eps_high));   A < 0:  l = min(l, −dual_clip · A)
//
// Numerics   the unbounded branch (A < 0 without dual clip or delta) saturates at the largest float.
// Source     Schulman et al. 2017, arXiv:1707.06347, eq. 7; two bounds: arXiv:2503.14476; dual clip: arXiv:1912.09729.
struct ClipBounds {
  float eps_low;
  float eps_high;
  float delta;      // +∞: none
  float dual_clip;  // +∞: none
};
struct PolicyLossClipArgs {
  ClipBounds bounds;
  PolicyLossTargets targets;
};

// policy_loss_sequence_clip — the same with one ratio per sequence (the length-normalised sequence ratio).
//
//   x[b] = Σ_{n in b} x[n] / (number of targets of b with weight ≠ 0);  ratio[b] = exp(x[b]) is that of all its targets,
//   and the gradient goes through the mean.
//
// Source     Zheng et al. 2025, arXiv:2507.18071, eq. 5 (GSPO).
struct PolicyLossSequenceClipArgs {
  SequenceSpans sequences;
  ClipBounds bounds;
  PolicyLossTargets targets;
};

// policy_loss_gspo_token — the clipped surrogate with the value of the sequence ratio and the gradient of the token's own.
//
//   x[b] as in policy_loss_sequence_clip, at most sequence_log_ratio_max; the ratio of target n has the value exp(x[b]), and
//   ∂ratio/∂logprobs[n] = ratio (0 where the bound holds x[b], or the clamp x[n]).
//
// The log-ratio metrics are of x[b].
// Source     Zheng et al. 2025, arXiv:2507.18071, eq. 13 (GSPO-token).
struct PolicyLossGspoTokenArgs {
  SequenceSpans sequences;
  ClipBounds bounds;
  float sequence_log_ratio_max;  // +∞: none
  PolicyLossTargets targets;
};

// policy_loss_cispo — REINFORCE weighted by the clipped ratio, which is constant: no target loses its gradient.
//
//   l(A) = −c A logprob,  c = clip(ratio, ratio_min, ratio_max) without gradient
//
// Metrics    kMetricClipped: ratio outside the bounds; Low: ratio < ratio_min and A < 0; High: ratio > ratio_max and A > 0.
// Source     MiniMax 2025, arXiv:2506.13585, eq. 4.
struct PolicyLossCispoArgs {
  float ratio_min;
  float ratio_max;  // ≥ 1; +∞: none
  PolicyLossTargets targets;
};

// policy_loss_sapo — a soft gate in place of the clip.
//
//   l(A) = −(4 / tau) σ(tau (ratio − 1)) A,   tau = A > 0 ? tau_positive : tau_negative
//   ∂l/∂x = −4 σ (1 − σ) ratio A              (−A at ratio 1)
//
// Source     Gao et al. 2025, arXiv:2511.20347 (SAPO).
struct PolicyLossSapoArgs {
  float tau_positive;
  float tau_negative;
  PolicyLossTargets targets;
};

// policy_loss_reinforce — l(A) = −A logprob. The old log-probs reach metrics, ratios and kl_times_ratio alone.
// Source     Williams 1992.
struct PolicyLossReinforceArgs {
  PolicyLossTargets targets;
};

// policy_loss_dppo_tv, policy_loss_dppo_kl — REINFORCE weighted by the ratio, dropped where the probability of the sampled
// token has moved too far in the direction that A asks for. p = exp(logprob), q = exp(old_logprob):
//
//   l(A) = −c A logprob keep(A),   c = min(ratio, ratio_cap) without gradient
//   tv   keep(A) = A > 0 ? p − q ≤ eps_high : p − q ≥ −eps_low
//   kl   keep(A) = A > 0 ? d ≤ eps_high or p ≤ q : d ≤ eps_low or p ≥ q,
//        d = q (old_logprob − logprob) + (1 − q) log((1 − q + 1e−8) / (1 − p + 1e−8))
//
// Metrics    kMetricClipped: dropped on a side with A ≠ 0; Low, High: those of A < 0, A > 0; Dual: ratio > ratio_cap and kept.
// Numerics   1 − p is −expm1(logprob): it does not cancel for confident tokens.
// Source     Qi et al. 2026, "Rethinking the trust region in LLM reinforcement learning" (DPPO).
struct PolicyLossDppoArgs {
  float eps_low;
  float eps_high;
  float ratio_cap;  // +∞: none
  PolicyLossTargets targets;
};

// policy_loss_gmpo — the geometric mean of the token ratios of a sequence, each clipped in the log.
//
//   A[n] = A⁺[n] + A⁻[n]: one advantage per target, because the clip belongs to the sequence
//   y[n] = A > 0 ? min(x[n], eps_high) : A < 0 ? max(x[n], −eps_low) : 0
//   l[n] = −mean_b(A) exp(mean_b(y)) for every target of b: means over its targets with weight ≠ 0
//
// Weights that are constant in a sequence and add up to 1/B over it give the mean over sequences. The gradient goes through
// the means to every y[n] that no bound holds. eps_low, eps_high are bounds of the log ratio.
//
// Metrics    kMetricClipped: a bound holds y[n]; Low: x[n] outside [−eps_low, eps_high] and A < 0; High: the same and A > 0.
//            Ratios and log-ratio metrics are those of x[n].
// Source     Zhao et al. 2025, arXiv:2507.20673.
struct PolicyLossGmpoArgs {
  SequenceSpans sequences;
  float eps_low;
  float eps_high;
  PolicyLossTargets targets;
};

// policy_loss_vespo — REINFORCE weighted by a smooth function of the importance weight of the whole sequence, which is
// constant.
//
//   w[b]  = clamp(Σ_{n in b} clamp(x[n], ± token_log_ratio_max) + log_weights[b], log_weight_min, log_weight_max)
//   φ     = exp(λ + k w − λ e^w),  (k, λ) = A > 0 ? (k_positive, lambda_positive) : (k_negative, lambda_negative)
//   l(A)  = −φ A logprob,  φ without gradient;  φ is 1 at w = 0 and largest at w = log(k / λ)
//
//   log_weights    [B]   f32   in    opt; what a correction of the rollouts adds to the log weight of a sequence
//
// The metrics are of the ratios of single targets.
// Source     VESPO, as in TRL (variational sequence-level soft policy optimization).
struct PolicyLossVespoArgs {
  SequenceSpans sequences;
  float k_positive;
  float lambda_positive;
  float k_negative;
  float lambda_negative;
  float token_log_ratio_max;
  float log_weight_min;
  float log_weight_max;
  const float* log_weights;
  PolicyLossTargets targets;
};

// What value_loss sums, in f64, over the targets whose weight is not 0.
enum ScValueLossMetric : int32_t { kValueLoss = 0, kValueCount, kValueClipped, kValueLossMetrics };

// value_loss — squared error of a value head, clipped around the values before the update.
//
//   loss = ½ Σ_n weights[n] max((v − R)², (clamp(v, old − clip, old + clip) − R)²);   clip = +∞: the plain squared error
//   dvalues[n] = ∂loss/∂values[n]; on equality that of the plain error
//
//   values [N] f32 in · old_values [N] f32 in, opt: needed where clip < ∞ · returns, weights [N] f32 in, weight 0: absent
//   dvalues [N] f32 out · metrics [kValueLossMetrics] f64 out; kValueClipped: the clipped error is the larger one
// Source     Schulman et al., the reference implementation of PPO.
struct ValueLossArgs {
  int64_t N;
  float clip;
  const float* values;
  const float* old_values;
  const float* returns;
  const float* weights;
  float* dvalues;
  double* metrics;
};

// policy_update_* — logits to dlogits in one call: logprobs, a policy loss and logprobs_backward fused. One op per form of the
// loss; its record is the rows, then the record of the form, whose log-probs are those of the rows.
//
//   total   = loss − Σ_t entropy_weights[t] · entropy[t]            the metric kMetricLoss is this total
//   dlogits = ∂total / ∂logits
//
//   dlogits [T, V] out, as the logits, may be the logits · entropy_weights [T] f32 in opt · logprobs [N] f32 out
//   entropy [T] f32 out, opt · everything else as in the three ops
//   An ignored target has log-probability 0 and counts as one of weight 0.
//
// Traffic    one read and one write of the logits where the form has one ratio per target: a row, or its exponentials, stays in
//            cache between its two passes. Scratch memory: about 4 V bytes for each thread on the CPU. A form that needs its
//            whole sequence reads the logits twice and writes them once, and needs 8 T bytes of memory where there are entropy
//            weights.
template <class Loss>
struct PolicyUpdateArgs {
  LogitRows rows;
  const float* entropy_weights;
  float* logprobs;
  float* lse;
  float* entropy;
  void* dlogits;
  Loss loss;
};

// ─────────────────────────────────────────────────────────────────────────────────────────────────────── optimizer

// grad_norm — norm[0] = sqrt(Σ_i grads[i]²), accumulated in f64 over fixed blocks.
struct GradNormArgs {
  int64_t count;
  const float* grads;
  double* norm;
};

// adamw — one step of Adam with decoupled weight decay, in place.
//
//   g = grads · grad_scale;  m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²
//   params ← params − lr ( m̂ / (√v̂ + eps) + weight_decay · params ),   m̂ = m / (1 − β₁^step), v̂ = v / (1 − β₂^step)
//
//   params, m, v [count] f32 in/out · grads [count] f32 in · step ≥ 1
// Source     Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2.
struct AdamwArgs {
  int64_t count;
  int64_t step;
  double lr;
  double beta1;
  double beta2;
  double eps;
  double weight_decay;
  double grad_scale;
  const float* grads;
  float* params;
  float* m;
  float* v;
};

// ──────────────────────────────────────────────────────────────────────────────────────────────────────── sampling

// sample — one token per row, by inversion of the cumulative distribution, from a counter-based generator.
//
//   p = softmax(logits / temperature); the support is cut by top_k, then top_p (smallest set of the largest p, not
//   renormalised, whose sum reaches top_p), then min_p (p ≥ min_p · max p), ties by lower id; temperature 0: the lowest argmax.
//   u[r] = Philox4x32-10(key = seed, counter = (streams[r], positions[r], 0, 0)) · 2⁻³² (+ 2⁻⁶⁴ of the second word)
//
//   logits [R, V] f32 in · streams, positions [R] i32 in · tokens [R] i32 out
//   logprobs         [R] f32 out   under the full distribution at this temperature (at temperature 1 for greedy)
//   support_logprobs [R] f32 out   opt; renormalised over the support (0 for greedy)
//
// A row that holds NaN or whose logits are all −∞ gives token −1 and logprob NaN; the caller turns it into an error.
// Order      the cumulative sum runs in id order in f32 blocks with an f64 carry: equal logits and counter, equal token.
// Source     Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox).
struct SampleArgs {
  int64_t R, V;
  int32_t dtype;
  int32_t top_k;  // 0: none
  float temperature;
  float top_p;  // 1: none
  float min_p;  // 0: none
  double seed;  // an integer below 2⁵³
  const void* logits;
  const int32_t* streams;
  const int32_t* positions;
  int32_t* tokens;
  float* logprobs;
  float* support_logprobs;
};

// ────────────────────────────────────────────────────────────────────────────────────────────────────── model ops

// embed — out[t, h] (+)= table[ids[t], h].    table [V, H] f32 | bf16 | f16, ids [T] i32, out [T, H] f32; accumulate: 0 writes,
// 1 adds.
struct EmbedArgs {
  int64_t T, V, H;
  int32_t accumulate;
  int32_t table_dtype;
  const void* table;
  const int32_t* ids;
  float* out;
};

// embed_backward — dtable[ids[t], h] += dout[t, h], in the order of t.
struct EmbedBackwardArgs {
  int64_t T, V, H;
  const int32_t* ids;
  const float* dout;
  float* dtable;
};

// linear — y[t, o] (+)= Σ_i x[t, i] weight[o, i] + bias[o].
//
//   x [T, I] · weight [O, I] f32 | bf16 | f16 · bias [O] opt · y [T, O]
//
// Numerics   f32: a half weight counts as its numbers in f32.
// Order      with the portable product a row's bits depend on that row alone, and are those of the same weight in f32; with
//            BLAS on its blocking.
struct LinearArgs {
  int64_t T, I, O;
  int32_t accumulate;
  int32_t portable;  // 1: the portable product even where BLAS is at hand
  int32_t weight_dtype;
  const float* x;
  const void* weight;
  const float* bias;
  float* y;
};

// linear_backward — dx[t, i] (+)= Σ_o dy[t, o] weight[o, i];  dweight[o, i] += Σ_t dy[t, o] x[t, i];  dbias[o] += Σ_t dy[t, o].
// dx, dweight, dbias opt, f32; x is needed for dweight, weight, of any type, for dx. accumulate: whether dx adds.
// Order      dx: as linear. dweight with the portable product: T is cut into segments (their number follows from the shape), in
//            each a running f32 sum per 256 rows; the segments' sums in order, added to dweight as one number.
struct LinearBackwardArgs {
  int64_t T, I, O;
  int32_t accumulate;
  int32_t portable;
  int32_t weight_dtype;
  const float* x;
  const void* weight;
  const float* dy;
  float* dx;
  float* dweight;
  float* dbias;
};

// rms_norm — y[t, h] = x[t, h] · rrms[t] · weight[h],  rrms[t] = 1 / sqrt(mean_h x[t, h]² + eps).   rrms [T] out.
// Source     Zhang & Sennrich 2019, arXiv:1910.07467.
struct RmsNormArgs {
  int64_t T, H;
  float eps;
  const float* x;
  const float* weight;
  float* y;
  float* rrms;
};

// rms_norm_backward — g = dy · weight;  dx (+)= rrms (g − x · rrms² · mean_h(g x));  dweight[h] += Σ_t dy x rrms.
// Order      dweight: a running f32 sum per chunk of about 32,768 numbers, the chunks in order.
struct RmsNormBackwardArgs {
  int64_t T, H;
  int32_t accumulate;  // whether dx adds
  const float* x;
  const float* weight;
  const float* rrms;
  const float* dy;
  float* dx;
  float* dweight;
};

// rope, rope_backward — rotate the pairs (i, i + D/2) of every head by the angle of the row's depth, in place; the backward
// rotates back.   x [T, heads, D] in/out · depth [T] i32 · cosines, sines [positions, D/2].
//   x'[i] = x[i] c − x[i + D/2] s;   x'[i + D/2] = x[i + D/2] c + x[i] s        c, s of (depth[t], i)
// Source     Su et al. 2021, arXiv:2104.09864, in the half-split layout of Hugging Face checkpoints.
struct RopeArgs {
  int64_t T, heads, D, positions;
  const int32_t* depth;
  const float* cosines;
  const float* sines;
  float* x;
};

// tree_attention — softmax attention of every packed position over its ancestors and itself, of which it sees the last
// `window`.
//
//   i attends to j  ⇔  j ≤ i < subtree_end[j] and depth(i) − depth(j) < window
//   head h reads key/value head h / (heads / kv_heads)
//   out[i, h] = Σ_j softmax_j(scale · q[i, h] · k[j]) v[j];   lse[i, h] = log Σ_j exp(scale · q[i, h] · k[j])
//
//   q, out [T, heads, D] · k, v [T, kv_heads, D] · subtree_end [T] i32, nested (a forest in depth-first order) · lse [T, heads]
//
// Order      keys in packed order; a row's bits depend on its own path alone, and equal those of decode_attention.
struct TreeAttentionArgs {
  int64_t T, heads, kv_heads, D;
  int64_t window;  // ≥ 1
  float scale;
  const float* q;
  const float* k;
  const float* v;
  const int32_t* subtree_end;
  float* out;
  float* lse;
};

// tree_attention_backward — dq, dk, dv of Σ dout · out, from the saved out and lse. dq, dk, dv are overwritten.
struct TreeAttentionBackwardArgs {
  int64_t T, heads, kv_heads, D;
  int64_t window;
  float scale;
  const float* q;
  const float* k;
  const float* v;
  const int32_t* subtree_end;
  const float* out;
  const float* lse;
  const float* dout;
  float* dq;
  float* dk;
  float* dv;
};

// decode_attention — attention of R rows, each over its own path of cached keys and values.
//
//   row r sees the cache slots slots[slot_offsets[r] … slot_offsets[r + 1]), in that order (its own slot last);
//   of these the last `window`
//
//   q, out [R, heads, D] · keys, values [cached, kv_heads, D] · slot_offsets [R + 1] i32 · slots [K] i32
struct DecodeAttentionArgs {
  int64_t R, K, cached, heads, kv_heads, D;
  int64_t window;
  float scale;
  const float* q;
  const float* keys;
  const float* values;
  const int32_t* slot_offsets;
  const int32_t* slots;
  float* out;
};

// swiglu — out = silu(gate) · up,  silu(x) = x / (1 + e^−x).     gate, up, out [count] f32. Shazeer 2020, arXiv:2002.05202.
struct SwigluArgs {
  int64_t count;
  const float* gate;
  const float* up;
  float* out;
};

// swiglu_backward — dgate = dout · up · σ(gate)(1 + gate (1 − σ(gate))), dup = dout · silu(gate). dgate may be gate, dup up.
struct SwigluBackwardArgs {
  int64_t count;
  const float* gate;
  const float* up;
  const float* dout;
  float* dgate;
  float* dup;
};

#endif
