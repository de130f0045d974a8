/**
 * ONNX models as bytes: the few messages of onnx.proto that a small graph needs, in the wire format of protocol buffers. A
 * field is a tag (number · 8 + wire type) and its value: a varint (type 0), or a length and that many bytes (type 2).
 */

type Bytes = readonly number[];

/** Seven bits at a time, the lowest first; the high bit says that more follow. */
export function varint(value: number): Bytes {
  if (!(Number.isSafeInteger(value) && value >= 0)) {
    throw new RangeError(`varint: expected an integer ≥ 0, received ${value}`);
  }
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return [...bytes, rest];
}

const int = (field: number, value: number): Bytes => [...varint(field * 8), ...varint(value)];
const bytes = (field: number, content: Bytes): Bytes => [
  ...varint(field * 8 + 2),
  ...varint(content.length),
  ...content,
];
const text = (field: number, content: string): Bytes => bytes(field, [...new TextEncoder().encode(content)]);

const float32 = 1;
const int64 = 7;

/** ValueInfoProto of a tensor: name 1; type 2 of tensor_type 1 of elem_type 1, shape 2 of dim 1 of dim_value 1. */
function valueInfo(name: string, elementType: number, shape: readonly number[]): Bytes {
  const dimensions = shape.flatMap((size) => bytes(1, int(1, size)));
  return [...text(1, name), ...bytes(2, bytes(1, [...int(1, elementType), ...bytes(2, dimensions)]))];
}

/** AttributeProto of an integer that is not negative: name 1, i 3, type 20 (2: INT). */
const intAttribute = (name: string, value: number): Bytes => [...text(1, name), ...int(3, value), ...int(20, 2)];

/** NodeProto: input 1, output 2, op_type 4, attribute 5. */
function node(type: string, inputs: readonly string[], output: string, attribute: Bytes): Bytes {
  return [...inputs.flatMap((input) => text(1, input)), ...text(2, output), ...text(4, type), ...bytes(5, attribute)];
}

/** `logprobs [rows, 1]` of `targets [rows, 1]` i64 from `logits [rows, vocabulary]` f32. */
export function logprobsModel(rows: number, vocabulary: number): Uint8Array {
  const axis = intAttribute("axis", 1);
  // GraphProto: node 1, name 2, input 11, output 12.
  const graph = [
    ...bytes(1, node("LogSoftmax", ["logits"], "all", axis)),
    ...bytes(1, node("GatherElements", ["all", "targets"], "logprobs", axis)),
    ...text(2, "logprobs"),
    ...bytes(11, valueInfo("logits", float32, [rows, vocabulary])),
    ...bytes(11, valueInfo("targets", int64, [rows, 1])),
    ...bytes(12, valueInfo("logprobs", float32, [rows, 1])),
  ];
  // ModelProto: ir_version 1, graph 7, opset_import 8 (OperatorSetIdProto: domain 1, version 2).
  return Uint8Array.from([...int(1, 8), ...bytes(7, graph), ...bytes(8, [...text(1, ""), ...int(2, 13)])]);
}
