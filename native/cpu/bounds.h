// The check of indices against their bounds, for the addon: it runs before a kernel does.

#ifndef STEPCREDIT_CPU_BOUNDS_H
#define STEPCREDIT_CPU_BOUNDS_H

#include <stdint.h>

// The index of the first value outside least … most, or −1. Long arrays are shared between the threads of the pool.
int64_t sc_first_outside(const int32_t* values, int64_t count, int32_t least, int32_t most);

#endif
