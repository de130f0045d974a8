// The C ABI between the addon and a backend: a version, the size of the table, and one function per op of ops.h. The CPU
// backend and a CUDA plug-in fill the same table; the addon calls whichever it was given.

#ifndef STEPCREDIT_BACKEND_H
#define STEPCREDIT_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "ops.h"

enum { kScAbiVersion = 4 };

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

// ── plug-ins: backends with memory of their own, in shared libraries that are loaded at run time

struct ScDevice {
  char name[128];
  char architecture[16];  // "sm_90", …
  uint64_t memory_bytes;
  int32_t multiprocessors;
  int32_t reserved;
};

// Memory or an event of a plug-in's device as another process can open it: what CUDA calls cudaIpcMemHandle_t and
// cudaIpcEventHandle_t.
struct ScShared {
  uint8_t handle[64];
};

// Every function returns 0, or a code with its text in `error`. Devices are numbered from 0. Functions may be called from any
// thread; a queue serves one thread at a time.
struct ScPlugin {
  uint32_t abi_version;  // stays first, and table_bytes second, in every version
  uint32_t table_bytes;
  const char* build;  // what it was compiled with and for
  const ScBackend* ops;

  // A failure says why there is none.
  int32_t (*count_devices)(int32_t* devices, ScError* error);
  int32_t (*describe_device)(int32_t device, ScDevice* description, ScError* error);

  // A queue does its work in order, after the call that gave it has returned.
  int32_t (*open_queue)(int32_t device, ScStream* queue, ScError* error);
  int32_t (*close_queue)(ScStream queue, ScError* error);

  // Memory aligned to 256 bytes, with any contents; never null, for 0 bytes too. No queue may use what is released.
  int32_t (*allocate)(int32_t device, size_t bytes, void** memory, ScError* error);
  int32_t (*release)(int32_t device, void* memory, ScError* error);

  // `from` of an upload and `to` of a download are memory of the host. It may be reused after an upload has returned; a
  // download has been written when the queue was waited for.
  int32_t (*upload)(ScStream queue, void* to, const void* from, size_t bytes, ScError* error);
  int32_t (*download)(ScStream queue, void* to, const void* from, size_t bytes, ScError* error);
  int32_t (*clear)(ScStream queue, void* memory, size_t bytes, ScError* error);
  // Between two ranges of the device's memory that do not overlap.
  int32_t (*copy)(ScStream queue, void* to, const void* from, size_t bytes, ScError* error);
  // The same of `count` numbers, to the nearest of the other's ScDtype, ties to even; a NaN stays one.
  int32_t (*convert)(ScStream queue, void* to, int32_t to_dtype, const void* from, int32_t from_dtype, size_t count,
                     ScError* error);

  // Returns when all work of the queue is done. What failed since the last call is told here: the op that was enqueued last.
  int32_t (*wait)(ScStream queue, ScError* error);

  // 0 where products of matrices go to cuBLASLt; a code with the reason where they take the plug-in's own kernel. Needs no
  // device, and may answer otherwise once a call of cuBLASLt has failed.
  int32_t (*find_cublaslt)(ScError* error);

  // Streams of others in the process: a cudaStream_t as a number, of the queue's device; 0 and 1 are CUDA's default stream, 2
  // is that of the calling thread. What the queue (the stream) gets from now on begins when what the other has now is done. No
  // call waits for either.
  int32_t (*queue_after_stream)(ScStream queue, uint64_t stream, ScError* error);
  int32_t (*stream_after_queue)(ScStream queue, uint64_t stream, ScError* error);
  // The queue's own stream.
  int32_t (*stream_of)(ScStream queue, uint64_t* stream, ScError* error);

  // The device that an address belongs to, whoever allocated it. Fails where it is no memory of a device.
  int32_t (*device_of)(const void* address, int32_t* device, ScError* error);

  // `memory` is what `allocate` gave, and stays allocated as long as another process has it open. Nothing is ordered: the
  // process that gives waits for its queues before it hands the handle over, and so does the one that gives it back.
  int32_t (*share)(int32_t device, const void* memory, ScShared* shared, ScError* error);
  // The first byte of what another process shares; not of what this one does.
  int32_t (*open_shared)(int32_t device, const ScShared* shared, void** memory, ScError* error);
  // No queue may use the memory any more.
  int32_t (*close_shared)(int32_t device, void* memory, ScError* error);

  // An event of the device, and the handle by which another process opens it.
  int32_t (*make_event)(int32_t device, void** event, ScShared* shared, ScError* error);
  // One that another process has made.
  int32_t (*open_event)(int32_t device, const ScShared* shared, void** event, ScError* error);
  // Of one that was made here, no process may use it any more.
  int32_t (*close_event)(int32_t device, void* event, ScError* error);
  // Marks what the queue has now.
  int32_t (*record_event)(ScStream queue, void* event, ScError* error);
  // What the queue gets from now on begins when what was marked last, by whichever process, is done. No call waits for it.
  int32_t (*queue_after_event)(ScStream queue, void* event, ScError* error);
};

// The one symbol that a plug-in exports: `extern "C" const ScPlugin* stepcredit_plugin(void)`.
typedef const ScPlugin* (*ScPluginEntry)(void);
#define SC_PLUGIN_SYMBOL "stepcredit_plugin"

#endif
