{
  "variables": {
    # OpenBLAS by pkg-config, Accelerate on macOS; STEPCREDIT_BLAS=off builds without.
    "blas%": "<!(node scripts/find-blas.mjs kind)",
    "sanitize%": "<!(node -p \"process.env.STEPCREDIT_SANITIZE || ''\")",
    "kernel_sources": [
      "native/cpu/adamw.cpp",
      "native/cpu/attention.cpp",
      "native/cpu/kl.cpp",
      "native/cpu/linear.cpp",
      "native/cpu/linear_logprobs.cpp",
      "native/cpu/logprobs.cpp",
      "native/cpu/model.cpp",
      "native/cpu/policy_loss.cpp",
      "native/cpu/policy_loss_sequences.cpp",
      "native/cpu/policy_update.cpp",
      "native/cpu/sample.cpp",
      "native/cpu/scatter.cpp",
      "native/cpu/table.cpp",
      "native/cpu/value_loss.cpp"
    ]
  },
  "target_defaults": {
    "cflags_cc": ["-std=c++17", "-O3", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
      "GCC_OPTIMIZATION_LEVEL": "3",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      "OTHER_CPLUSPLUSFLAGS": ["-ffp-contract=off", "-fno-math-errno"]
    },
    "conditions": [
      ["sanitize!=''", {
        "cflags_cc": ["-fsanitize=<(sanitize)", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g", "-O1"],
        "ldflags": ["-fsanitize=<(sanitize)"]
      }]
    ]
  },
  # The same kernel sources once per instruction set; the addon picks one at run time.
  "targets": [
    {
      "target_name": "kernels_generic",
      "type": "static_library",
      "defines": ["SC_ISA=generic"],
      "sources": ["<@(kernel_sources)"]
    },
    {
      "target_name": "stepcredit",
      "dependencies": [
        "kernels_generic",
        "<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except"
      ],
      "defines": ["NAPI_VERSION=9"],
      "sources": [
        "native/addon/addon.cpp",
        "native/addon/arguments.cpp",
        "native/addon/blocks.cpp",
        "native/addon/copies.cpp",
        "native/addon/device_memory.cpp",
        "native/addon/devices.cpp",
        "native/addon/interop.cpp",
        "native/addon/promises.cpp",
        "native/addon/record.cpp",
        "native/addon/runner.cpp",
        "native/addon/staging.cpp",
        "native/addon/tensors.cpp",
        "native/cpu/blas.cpp",
        "native/cpu/bounds.cpp",
        "native/cpu/dispatch.cpp",
        "native/cpu/pool.cpp"
      ],
      "conditions": [
        ["blas=='openblas'", {
          "defines": ["SC_HAVE_CBLAS"],
          "cflags": ["<!@(node scripts/find-blas.mjs cflags)"],
          "libraries": ["<!@(node scripts/find-blas.mjs libs)"]
        }],
        ["blas=='accelerate'", {
          "defines": ["SC_HAVE_ACCELERATE", "ACCELERATE_NEW_LAPACK"],
          "libraries": ["-framework Accelerate"]
        }],
        ["target_arch=='x64'", { "dependencies": ["kernels_avx2", "kernels_avx512"] }],
        ["target_arch=='arm64'", { "dependencies": ["kernels_neon"] }],
        ["OS=='linux'", { "libraries": ["-ldl"], "ldflags": ["-Wl,--version-script=../native/addon/exports.map", "-Wl,--exclude-libs,ALL"] }]
      ]
    }
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "kernels_avx2",
          "type": "static_library",
          "defines": ["SC_ISA=avx2"],
          "cflags_cc": ["-mavx2", "-mfma", "-mf16c"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["-mavx2", "-mfma", "-mf16c"] },
          "sources": ["<@(kernel_sources)"]
        },
        {
          "target_name": "kernels_avx512",
          "type": "static_library",
          "defines": ["SC_ISA=avx512"],
          "cflags_cc": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c", "-mprefer-vector-width=512"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c"] },
          "sources": ["<@(kernel_sources)"]
        }
      ]
    }],
    ["target_arch=='arm64'", {
      "targets": [
        {
          "target_name": "kernels_neon",
          "type": "static_library",
          "defines": ["SC_ISA=neon"],
          "sources": ["<@(kernel_sources)"]
        }
      ]
    }]
  ]
}
