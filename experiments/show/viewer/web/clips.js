// The clips in time: learned phase against clip time, and bodies between instances.

class Clips {
  constructor(data) {
    this.names = data.names;
    this.count = data.names.length;
    this.frames = data.frames;
    this.fps = data.fps;
    this.durations = this.frames.map((frames, n) => (frames - 1) / this.fps[n]);
    this.ground = data.ground;
    this.mirrored = data.mirrored;
    this.codes = rows(unpack(data.codes), this.count);
    this.betas = rows(unpack(data.betas), this.count);
    this.ways = data.ways ? rows(unpack(data.ways), this.count) : null;
    this.phases = rows(unpack(data.phases), this.count);
    this.expected = rows(unpack(data.expected_mm), this.count);
    this.plane = principalPlane(this.codes);
  }

  /** Learned phase of an instance at a raw phase, the share of its clip that has passed; exact at every frame. */
  phaseAt(n, raw) {
    const at = clamp(raw, 0, 1) * (this.frames[n] - 1);
    const frame = Math.min(Math.floor(at), Math.max(this.frames[n] - 2, 0));
    const next = Math.min(frame + 1, this.frames[n] - 1);
    return mix(this.phases[n][frame], this.phases[n][next], at - frame);
  }

  /** The error in millimetres that is expected of an instance at a raw phase. */
  expectedAt(n, raw) {
    return this.expected[n][Math.round(clamp(raw, 0, 1) * (this.frames[n] - 1))];
  }

  /** The raw phase at which an instance reaches a learned phase. */
  rawAt(n, phase) {
    let [low, high] = [0, 1];
    if (this.frames[n] < 2) return 0;
    for (let i = 0; i < 40; i++) {
      const middle = (low + high) / 2;
      if (this.phaseAt(n, middle) < phase) low = middle;
      else high = middle;
    }
    return high;
  }

  /** An instance as a person to show: code, shape, ground, and its time. */
  person(n) {
    const weights = this.codes.map((_, i) => (i === n ? 1 : 0));
    return { ...this.blend(weights), code: this.codes[n], name: this.names[n], instance: n };
  }

  /** A person between instances whose shares `weights` add up to one; its time is their mean. */
  blend(weights) {
    const used = weights.map((weight, n) => [weight, n]).filter(([weight]) => weight !== 0);
    const sum = (of) => used.reduce((total, [weight, n]) => total + weight * of(n), 0);
    const mean = (table) => Array.from(table[0], (_, i) => sum((n) => table[n][i]));
    return {
      weights,
      instance: null,
      code: mean(this.codes),
      betas: mean(this.betas),
      way: this.ways && mean(this.ways),
      ground: sum((n) => this.ground[n]),
      mirrored: sum((n) => (this.mirrored[n] ? 1 : 0)) > 0.5,
      duration: sum((n) => this.durations[n]),
      phaseAt: (raw) => sum((n) => this.phaseAt(n, raw)),
      rawAt: (phase) => sum((n) => this.rawAt(n, phase)),
    };
  }

  /** The nearest point of the map that a code can have: codes on one line leave it no second direction. */
  reachable(point) {
    return point.map((value, i) => (this.plane.axes[i].some((along) => along !== 0) ? value : 0));
  }

  /**
   * The person at a point of the map of codes. The map is the plane in which codes differ most; off the plane, and in
   * shape and time, a point is like the instances near it (weights 1 / distance squared), and exactly one on its dot.
   */
  personAt(point) {
    const { mean, axes, points } = this.plane;
    const near = points.findIndex(([x, y]) => Math.hypot(x - point[0], y - point[1]) < 1e-9);
    const raw = points.map(([x, y], n) => {
      if (near >= 0) return n === near ? 1 : 0;
      return 1 / ((x - point[0]) ** 2 + (y - point[1]) ** 2);
    });
    const total = raw.reduce((a, b) => a + b, 0);
    const person = this.blend(raw.map((weight) => weight / total));
    const blended = onPlane(person.code, mean, axes);
    person.code = person.code.map((value, i) => {
      return value + axes[0][i] * (point[0] - blended[0]) + axes[1][i] * (point[1] - blended[1]);
    });
    return person;
  }
}

function rows(flat, count) {
  const size = flat.length / count;
  return Array.from({ length: count }, (_, n) => flat.subarray(n * size, (n + 1) * size));
}

function onPlane(code, mean, axes) {
  return axes.map((axis) => axis.reduce((sum, value, i) => sum + value * (code[i] - mean[i]), 0));
}

/** Mean, two orthonormal axes of largest variance, and places of codes on them, by power iteration. */
function principalPlane(codes) {
  const size = codes[0].length;
  const mean = Array.from({ length: size }, (_, i) => codes.reduce((sum, code) => sum + code[i], 0) / codes.length);
  const axes = [];
  let spread = 0; // along the first axis
  for (let which = 0; which < 2; which++) {
    let axis = Array.from({ length: size }, (_, i) => Math.cos(1 + i * (which + 1)));
    for (let step = 0; step < 200; step++) {
      const next = new Array(size).fill(0);
      for (const code of codes) {
        const along = code.reduce((sum, value, i) => sum + (value - mean[i]) * axis[i], 0);
        for (let i = 0; i < size; i++) next[i] += along * (code[i] - mean[i]);
      }
      for (const other of axes) {
        const along = next.reduce((sum, value, i) => sum + value * other[i], 0);
        for (let i = 0; i < size; i++) next[i] -= along * other[i];
      }
      const length = Math.hypot(...next);
      if (length <= 1e-6 * spread) {
        axis = new Array(size).fill(0); // codes do not differ in another direction
        break;
      }
      axis = next.map((value) => value / length);
      if (which === 0) spread = length;
    }
    axes.push(axis);
  }
  return { mean, axes, points: codes.map((code) => onPlane(code, mean, axes)) };
}
