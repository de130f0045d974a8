"""The sizes that are checked, and those of real models that are timed: (subject, sizes) and (subject, sizes, types)."""

import attention
import flat
import heads
import layers
import rows
import sampling

SMALL = [
    (rows.logprobs, (5, 301)),
    (rows.logprobs, (3, 4096)),
    (rows.logprobs_backward, (5, 301)),
    (rows.logprobs_backward, (3, 4096)),
    (rows.policy_update, (5, 301)),
    (rows.policy_update, (3, 4096)),
    (sampling.sample_greedy, (5, 4099)),
    (sampling.sample_top_p, (8, 515)),
    (flat.scatter_advantages, (1003,)),
    (flat.scatter_advantages_backward, (1003,)),
    (flat.adamw, (1027,)),
    (attention.tree_attention, (67, 4, 2, 32)),
    (attention.tree_attention_backward, (67, 4, 2, 32)),
    (attention.decode_attention, (3, 37, 5, 4, 2, 32)),
    (layers.linear, (5, 48, 40)),
    (layers.linear, (20, 50, 40)),
    (layers.linear, (20, 48, 140)),
    (layers.linear_backward, (20, 48, 140)),
    (heads.linear_logprobs, (7, 130, 24)),
    (heads.linear_logprobs_by_products, (7, 130, 32)),
    (heads.linear_logprobs_by_tiles, (7, 130, 32)),
    (heads.linear_logprobs_backward, (7, 130, 24)),
    (heads.linear_logprobs_backward_by_products, (7, 130, 32)),
    (heads.linear_logprobs_backward_by_tiles, (7, 130, 32)),
]

BOTH, BF16, F32 = ["f32", "bf16"], ["bf16"], ["f32"]
# Vocabularies: 32000 of Llama 2, 128256 of Llama 3, 151936 of Qwen 2.5 and 3. The longest are in bf16 alone, which halves them.
LOGITS = [
    ((4096, 32000), BOTH),
    ((32768, 32000), BOTH),
    ((4096, 128256), BOTH),
    ((16384, 128256), BF16),
    ((4096, 151936), BOTH),
    ((32768, 151936), BF16),
]
# Widths: 4096 of Llama 2 7B and Llama 3 8B, 2048 of Llama 3.2 1B and Qwen 3 1.7B, 896 of Qwen 2.5 0.5B.
HEADS = [
    ((4096, 32000, 4096), BOTH),
    ((4096, 128256, 4096), BF16),
    ((16384, 128256, 2048), BF16),
    ((4096, 151936, 896), BOTH),
    ((8192, 151936, 2048), BF16),
    ((32768, 151936, 896), BF16),
]
FORWARD_WAYS = [heads.linear_logprobs_by_products, heads.linear_logprobs_by_tiles]
BACKWARD_WAYS = [heads.linear_logprobs_backward_by_products, heads.linear_logprobs_backward_by_tiles]
# Heads of queries and of keys, and their width: 14, 2, 64 of Qwen 2.5 0.5B; 32, 8, 128 of Llama 3 8B.
TREES = [(4096, 14, 2, 64), (16384, 14, 2, 64), (32768, 14, 2, 64), (4096, 32, 8, 128), (8192, 32, 8, 128)]
# Into the middle of the MLP of Qwen 2.5 0.5B and of Llama 3 8B, in training and in decoding.
LAYERS = [(16384, 896, 4864), (8192, 4096, 14336)]
LARGE = [
    (rows.logprobs, (64, 151936), BOTH),  # fewer rows than multiprocessors
    *[(rows.logprobs, *case) for case in LOGITS],
    *[(rows.logprobs_backward, *case) for case in LOGITS],
    *[(rows.policy_update, *case) for case in LOGITS],
    *[(way, *case) for case in HEADS for way in FORWARD_WAYS],
    *[(way, *case) for case in HEADS for way in BACKWARD_WAYS],
    *[(layers.linear, sizes, BOTH) for sizes in [*LAYERS, (16, 896, 4864), (16, 4096, 14336)]],
    *[(layers.linear_backward, sizes, BOTH) for sizes in LAYERS],
    *[(sampling.sample_greedy, sizes, F32) for sizes in [(64, 32000), (64, 128256), (256, 151936)]],
    *[(sampling.sample_top_p, sizes, F32) for sizes in [(64, 32000), (64, 128256), (256, 151936)]],
    *[(flat.scatter_advantages, (targets,), F32) for targets in [32768, 1 << 22]],
    *[(flat.scatter_advantages_backward, (targets,), F32) for targets in [32768, 1 << 22]],
    *[(flat.adamw, (count,), F32) for count in [1 << 20, 494032768]],  # the second: all of Qwen 2.5 0.5B
    *[(attention.tree_attention, sizes, F32) for sizes in TREES],
    *[(attention.tree_attention_backward, sizes, F32) for sizes in TREES],
    *[(attention.decode_attention, sizes, F32) for sizes in [(64, 1024, 512, 14, 2, 64), (256, 1024, 512, 32, 8, 128)]],
]
