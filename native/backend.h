// The C ABI between the addon and a backend: a version, the size of the table, and one function per op of ops.h. The CPU
// backend and a CUDA plug-in fill the same table; the addon calls whichever it was given.

#ifndef STEPCREDIT_BACKEND_H
#define STEPCREDIT_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "ops.h"

enum { kScAbiVersion = 1 };

// What a failing op leaves behind; code 0 is success.
struct ScError {
  int32_t code;
  char text[244];
};

// A queue of work on the device; null on the CPU and for the device's default queue.
typedef void* ScStream;

// Every op of the table, in the order of ops.h: X(name, argument record).
#define SC_OPS(X)                                                              \
  X(logprobs, LogprobsArgs)                                                    \
  X(logprobs_backward, LogprobsBackwardArgs)                                   \
  X(linear_logprobs, LinearLogprobsArgs)                                       \
  X(linear_logprobs_backward, LinearLogprobsBackwardArgs)                      \
  X(scatter_advantages, ScatterAdvantagesArgs)                                 \
  X(scatter_advantages_backward, ScatterAdvantagesBackwardArgs)                \
  X(scatter_advantages_by_offsets, ScatterByOffsetsArgs)                       \
  X(scatter_advantages_by_offsets_backward, ScatterByOffsetsBackwardArgs)      \
  X(kl, KlArgs)                                                                \
  X(policy_loss_clip, PolicyLossClipArgs)                                      \
  X(policy_loss_sequence_clip, PolicyLossSequenceClipArgs)                     \
  X(policy_loss_gspo_token, PolicyLossGspoTokenArgs)                           \
  X(policy_loss_cispo, PolicyLossCispoArgs)                                    \
  X(policy_loss_sapo, PolicyLossSapoArgs)                                      \
  X(policy_loss_reinforce, PolicyLossReinforceArgs)                            \
  X(policy_loss_dppo_tv, PolicyLossDppoArgs)                                   \
  X(policy_loss_dppo_kl, PolicyLossDppoArgs)                                   \
  X(policy_loss_gmpo, PolicyLossGmpoArgs)                                      \
  X(policy_loss_vespo, PolicyLossVespoArgs)                                    \
  X(value_loss, ValueLossArgs)                                                 \
  X(policy_update_clip, PolicyUpdateArgs<PolicyLossClipArgs>)                  \
  X(policy_update_sequence_clip, PolicyUpdateArgs<PolicyLossSequenceClipArgs>) \
  X(policy_update_gspo_token, PolicyUpdateArgs<PolicyLossGspoTokenArgs>)       \
  X(policy_update_cispo, PolicyUpdateArgs<PolicyLossCispoArgs>)                \
  X(policy_update_sapo, PolicyUpdateArgs<PolicyLossSapoArgs>)                  \
  X(policy_update_reinforce, PolicyUpdateArgs<PolicyLossReinforceArgs>)        \
  X(policy_update_dppo_tv, PolicyUpdateArgs<PolicyLossDppoArgs>)               \
  X(policy_update_dppo_kl, PolicyUpdateArgs<PolicyLossDppoArgs>)               \
  X(policy_update_gmpo, PolicyUpdateArgs<PolicyLossGmpoArgs>)                  \
  X(policy_update_vespo, PolicyUpdateArgs<PolicyLossVespoArgs>)                \
  X(grad_norm, GradNormArgs)                                                   \
  X(adamw, AdamwArgs)                                                          \
  X(sample, SampleArgs)                                                        \
  X(embed, EmbedArgs)                                                          \
  X(embed_backward, EmbedBackwardArgs)                                         \
  X(linear, LinearArgs)                                                        \
  X(linear_backward, LinearBackwardArgs)                                       \
  X(rms_norm, RmsNormArgs)                                                     \
  X(rms_norm_backward, RmsNormBackwardArgs)                                    \
  X(rope, RopeArgs)                                                            \
  X(rope_backward, RopeArgs)                                                   \
  X(tree_attention, TreeAttentionArgs)                                         \
  X(tree_attention_backward, TreeAttentionBackwardArgs)                        \
  X(decode_attention, DecodeAttentionArgs)                                     \
  X(swiglu, SwigluArgs)                                                        \
  X(swiglu_backward, SwigluBackwardArgs)

struct ScBackend {
  uint32_t abi_version;
  uint32_t table_bytes;
  const char* name;  // "cpu/avx512", "cuda/sm_90", …
#define SC_OP_POINTER(op, Args) int32_t (*op)(const Args* args, ScStream stream, ScError* error);
  SC_OPS(SC_OP_POINTER)
#undef SC_OP_POINTER
};

#endif
