// Arrays of viewer/packing.py: base64 of little-endian numbers, some of them whole numbers times a scale.

const TYPES = {
  float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int8: Int8Array, int16: Int16Array,
};

/** The stored numbers of a packed array, before any scale. */
function rawNumbers(packed) {
  const text = atob(packed.data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new TYPES[packed.type](bytes.buffer);
}

/** The array's values, flat and row-major. */
function unpack(packed) {
  const numbers = rawNumbers(packed);
  if (!packed.scale) return numbers;
  const values = new Float32Array(numbers.length);
  let stride = 1;
  if (packed.axis !== null) for (const size of packed.shape.slice(packed.axis + 1)) stride *= size;
  const count = packed.scale.length;
  for (let i = 0; i < values.length; i++) values[i] = numbers[i] * packed.scale[Math.floor(i / stride) % count];
  return values;
}
