// From a JavaScript object of named arrays and numbers to the argument record of an op.

#ifndef STEPCREDIT_ADDON_RECORD_H
#define STEPCREDIT_ADDON_RECORD_H

#include <napi.h>

#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "device_memory.h"

// An op of a backend. Lives as long as the process, like the tables it points to: a worker's environment may end while
// another's runs.
struct BoundOp {
  const OpEntry* entry;
  const ScBackend* backend;
  Lane* lane;  // null: the memory is the host's
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

// The arrays of a record.
struct RecordArrays {
  std::vector<ArrayArgument> of_host;
  std::vector<std::shared_ptr<DeviceMemory>> of_device;
};

// Fills a record, and lists its arrays where asked to; an op of a device always asks. Throws a TypeError where an array has not
// the element, the length or the device that the kernel counts on.
void fill_record(Napi::Env env, const BoundOp& bound, const Napi::Object& arguments, Record* record, RecordArrays* arrays);

// An array that a record points to.
struct Extent {
  const Field* field;
  size_t bytes;
};

// Calls the op with a record whose pointers are the backend's memory; 0, or a code with its text in `error`.
int32_t call_op(const BoundOp& bound, const Record& record, ScStream queue, ScError* error);

// Runs the op to its end, on any thread. `of_host` lists its arrays of the host where the op is a device's.
int32_t run_op(const BoundOp& bound, const Record& record, const std::vector<Extent>& of_host, ScError* error);

// What an error says to the user: begins with `name`, once.
std::string failure(const std::string& name, const BoundOp& bound, const ScError& error);

#endif
