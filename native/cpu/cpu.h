// The CPU backend: the ops of one instruction set, in a namespace named after it (SC_ISA, given by the build).

#ifndef STEPCREDIT_CPU_CPU_H
#define STEPCREDIT_CPU_CPU_H

#include "../backend.h"

#ifndef SC_ISA
#error "SC_ISA names the instruction set this file is compiled for"
#endif

namespace SC_ISA {
#define SC_OP_DECLARATION(op, Args) int32_t op(const Args* args, ScStream stream, ScError* error);
SC_OPS(SC_OP_DECLARATION)
#undef SC_OP_DECLARATION
}  // namespace SC_ISA

#endif
