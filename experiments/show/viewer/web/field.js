// The learned motion field, evaluated as nemo_jax/field.py and nemo_jax/rotations.py do.

const JOINTS = 24;

// Radial kernels of d, a squared distance over a scale.
const KERNELS = {
  gaussian: (d) => Math.exp(-d * d),
  linear: (d) => d,
  quadratic: (d) => d * d,
  inverse_quadratic: (d) => 1 / (1 + d * d),
  multiquadric: (d) => Math.sqrt(1 + d * d),
  inverse_multiquadric: (d) => 1 / Math.sqrt(1 + d * d),
  spline: (d) => d * d * Math.log(d + 1),
  poisson_one: (d) => (d - 1) * Math.exp(-d),
  poisson_two: (d) => ((d - 2) / 2) * d * Math.exp(-d),
  matern32: (d) => (1 + Math.sqrt(3) * d) * Math.exp(-Math.sqrt(3) * d),
  matern52: (d) => (1 + Math.sqrt(5) * d + (5 / 3) * d * d) * Math.exp(-Math.sqrt(5) * d),
};

const ACTIVATIONS = {
  relu: (x) => Math.max(x, 0),
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))), // as jax.nn.gelu
  tanh: Math.tanh,
};

class Field {
  constructor(packed, codeSize) {
    this.features = packed.features;
    this.activation = ACTIVATIONS[packed.activation];
    this.logScales = packed.features.log_scales ? unpack(packed.features.log_scales) : null;
    this.layers = packed.layers.map((layer) => ({ kernel: unpack(layer.kernel), bias: unpack(layer.bias) }));
    this.way = packed.way ? unpack(packed.way) : null;
    this.origin = this.heads(0, new Float64Array(codeSize)).translation;
  }

  /** Motion at a phase and a code: joint rotations, 24 matrices of 9 row by row, and the root's translation in metres. */
  at(phase, code) {
    const { sixD, translation } = this.heads(phase, code);
    const rotations = new Float64Array(JOINTS * 9);
    for (let joint = 0; joint < JOINTS; joint++) gramSchmidt(sixD, joint * 6, rotations, joint * 9);
    return { rotations, translation: translation.map((value, i) => value - this.origin[i]) };
  }

  heads(phase, code) {
    let values = Float64Array.from([...this.radial(phase), ...code]);
    for (const layer of this.layers.slice(0, 3)) values = dense(layer, values).map(this.activation);
    const translation = dense(this.layers[4], values);
    return { sixD: dense(this.layers[3], values), translation: translation.map((value, i) => value + this.along(phase, i)) };
  }

  /** What a polynomial of the phase adds to the translation along an axis. */
  along(phase, axis) {
    if (!this.way) return 0;
    return [0, 1, 2].reduce((sum, row) => sum + this.way[3 * row + axis] * phase ** (row + 1), 0);
  }

  radial(phase) {
    const { kind, kernel, centres } = this.features;
    if (kind === "none") return [phase];
    const of = KERNELS[kernel];
    return Array.from({ length: centres }, (_, k) => {
      const distance = phase - (centres > 1 ? k / (centres - 1) : 0);
      return of((distance * distance) / Math.exp(this.logScales[k]));
    });
  }
}

function dense({ kernel, bias }, input) {
  const size = bias.length;
  const output = Float64Array.from(bias);
  for (let i = 0, row = 0; i < input.length; i++, row += size) {
    const value = input[i];
    if (value === 0) continue; // half of what comes out of a rectifier
    for (let o = 0; o < size; o++) output[o] += value * kernel[row + o];
  }
  return output;
}

/** Six numbers, read row by row as 3 x 2, to the rotation whose first columns they span. */
function gramSchmidt(from, at, to, out) {
  const a = [from[at], from[at + 2], from[at + 4]];
  const b = [from[at + 1], from[at + 3], from[at + 5]];
  const first = unit(a);
  const along = dot(first, b);
  const second = unit(b.map((value, i) => value - along * first[i]));
  const third = cross(first, second);
  for (let row = 0; row < 3; row++) {
    to[out + 3 * row] = first[row];
    to[out + 3 * row + 1] = second[row];
    to[out + 3 * row + 2] = third[row];
  }
}

/** Rodrigues' formula: 24 axis-angles, radians, at an offset of an array, to 24 matrices. */
function rotationsOf(axisAngles, offset) {
  const out = new Float64Array(JOINTS * 9);
  for (let joint = 0; joint < JOINTS; joint++) {
    const [x, y, z] = axisAngles.subarray(offset + 3 * joint, offset + 3 * joint + 3);
    const square = x * x + y * y + z * z;
    const angle = Math.sqrt(square);
    const small = square < 1e-8;
    const s = small ? 1 - square / 6 : Math.sin(angle) / angle;
    const v = small ? 0.5 - square / 24 : (2 * Math.sin(angle / 2) ** 2) / square;
    out.set(
      [
        1 - v * (y * y + z * z), v * x * y - s * z, v * x * z + s * y,
        v * x * y + s * z, 1 - v * (x * x + z * z), v * y * z - s * x,
        v * x * z - s * y, v * y * z + s * x, 1 - v * (x * x + y * y),
      ],
      9 * joint,
    );
  }
  return out;
}

/** The motion reflected in the plane x = 0; `twins` is the joint on the other side of each. */
function mirrorMotion({ rotations, translation }, twins) {
  const out = new Float64Array(JOINTS * 9);
  for (let joint = 0; joint < JOINTS; joint++) {
    for (let i = 0; i < 9; i++) {
      const sign = (i < 3) !== (i % 3 === 0) ? -1 : 1;
      out[9 * joint + i] = sign * rotations[9 * twins[joint] + i];
    }
  }
  return { rotations: out, translation: [-translation[0], translation[1], translation[2]] };
}
