"""The sizes that are checked, and those of real models that are timed."""

import attention
import flat
import heads
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
    (sampling.sample_top_p, (32, 1031)),
    (flat.scatter_advantages, (1003,)),
    (flat.scatter_advantages_backward, (1003,)),
    (flat.adamw, (1027,)),
    (attention.tree_attention, (67, 4, 2, 32)),
    (attention.tree_attention_backward, (67, 4, 2, 32)),
    (attention.decode_attention, (3, 37, 5, 4, 2, 32)),
    (heads.linear_logprobs, (7, 130, 24)),
    (heads.linear_logprobs_by_products, (7, 130, 32)),
    (heads.linear_logprobs_by_tiles, (7, 130, 32)),
    (heads.linear_logprobs_backward, (7, 130, 24)),
]
# Vocabularies of Llama 2, Llama 3 and Qwen 2.5; widths of Qwen 2.5 0.5B and of Llama 3 8B.
LARGE = [
    *[(rows.logprobs, (T, V)) for T, V in [(4096, 32000), (4096, 128256), (4096, 151936), (8192, 151936)]],
    *[(rows.policy_update, (T, V)) for T, V in [(4096, 32000), (4096, 128256), (4096, 151936), (8192, 151936)]],
    *[
        (way, (4096, V, H))
        for V, H in [(32000, 4096), (128256, 4096), (151936, 896)]
        for way in [heads.linear_logprobs_by_products, heads.linear_logprobs_by_tiles]
    ],
    *[(heads.linear_logprobs_backward, (4096, V, H)) for V, H in [(32000, 4096), (151936, 896)]],
]
