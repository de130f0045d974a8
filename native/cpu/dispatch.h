// Which instruction sets this build holds and this processor can run.

#ifndef STEPCREDIT_CPU_DISPATCH_H
#define STEPCREDIT_CPU_DISPATCH_H

#include "../backend.h"

// The usable backends, the best first, ended by null.
const ScBackend* const* sc_cpu_backends();

#endif
