// The table of one instruction set.

#include "cpu.h"

#define SC_TEXT_OF(name) #name
#define SC_TEXT(name) SC_TEXT_OF(name)
#define SC_JOIN_OF(a, b) a##b
#define SC_JOIN(a, b) SC_JOIN_OF(a, b)

extern "C" const ScBackend* SC_JOIN(sc_cpu_backend_, SC_ISA)() {
#define SC_OP_ENTRY(op, Args) SC_ISA::op,
  static const ScBackend backend = {kScAbiVersion, sizeof(ScBackend), "cpu/" SC_TEXT(SC_ISA), SC_OPS(SC_OP_ENTRY)};
#undef SC_OP_ENTRY
  return &backend;
}
