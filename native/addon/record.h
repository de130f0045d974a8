// From a JavaScript object of named arrays and numbers to the argument record of an op.

#ifndef STEPCREDIT_ADDON_RECORD_H
#define STEPCREDIT_ADDON_RECORD_H

#include <napi.h>

#include <string>
#include <vector>

#include "arguments.h"
#include "devices.h"

// An op of a backend. Lives as long as the process, like the tables it points to: a worker's environment may end while
// another's runs.
struct BoundOp {
  const OpEntry* entry;
  const ScBackend* backend;
  Device* device;  // null: the memory is the host's
};

// Room for the argument record of any op.
struct Record {
  alignas(16) char bytes[512] = {};
};
#define SC_FITS(op, Args) static_assert(sizeof(Args) <= sizeof(Record), "the arguments of " #op " fit into a record");
SC_OPS(SC_FITS)
#undef SC_FITS

// An array of the record, as JavaScript has it.
struct ArrayArgument {
  const Field* field;
  napi_value array;
  napi_value buffer;
  void* elements;
  size_t length;
  size_t bytes;
};

// Fills a record, and lists its arrays where asked to. Throws a TypeError where an array has not the element or the length
// that the kernel counts on.
void fill_record(Napi::Env env, const OpEntry& op, const Napi::Object& arguments, Record* record,
                 std::vector<ArrayArgument>* arrays);

// An array that a record points to.
struct Extent {
  const Field* field;
  size_t bytes;
};

// Calls the op with a record whose pointers are the backend's memory; 0, or a code with its text in `error`.
int32_t call_op(const BoundOp& bound, const Record& record, ScStream queue, ScError* error);

// Runs the op to its end on this thread, on arrays of the host; the list of arrays is for devices alone.
int32_t run_op(const BoundOp& bound, const Record& record, const std::vector<Extent>& arrays, ScError* error);

// What an error says to the user: begins with `name`, once.
std::string failure(const std::string& name, const BoundOp& bound, const ScError& error);

#endif
