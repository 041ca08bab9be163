// Which points of feet and hands stand, as nemo_jax/contact.py says, and where they are.

class Contacts {
  constructor(packed) {
    this.values = unpack(packed.values);
    this.own = unpack(packed.own);
    this.count = packed.joints.length;
    this.centres = this.values.length / this.count;
    this.joints = packed.joints;
    this.offsets = unpack(packed.offsets);
    this.otherSide = packed.other_side;
  }

  /** Probabilities that the points stand, at a phase and a code; a mirrored person has the other sides'. */
  at(phase, code, mirrored) {
    const { centres, count, values, own } = this;
    const sharp = Math.max(centres - 1, 1);
    const shares = Array.from({ length: centres }, (_, k) => {
      const centre = centres > 1 ? k / (centres - 1) : 0;
      return -0.5 * ((phase - centre) * sharp) ** 2;
    });
    const most = Math.max(...shares);
    const weights = shares.map((share) => Math.exp(share - most));
    const total = weights.reduce((a, b) => a + b, 0);
    const found = Array.from({ length: count }, (_, point) => {
      let logit = 0;
      for (let k = 0; k < centres; k++) {
        let value = values[k * count + point];
        for (let c = 0; c < code.length; c++) value += code[c] * own[(c * centres + k) * count + point];
        logit += (weights[k] / total) * value;
      }
      return 1 / (1 + Math.exp(-logit));
    });
    return mirrored ? this.otherSide.map((point) => found[point]) : found;
  }

  /** Where the points [x, y, z] of a posed body are: each moves as one with its joint. `rest`: joints of the unposed body. */
  points({ transforms }, rest) {
    return this.joints.map((joint, point) => {
      const from = [0, 1, 2].map((axis) => rest[3 * joint + axis] + this.offsets[3 * point + axis]);
      return [0, 1, 2].map((row) => {
        const at = 12 * joint + 4 * row;
        return dot(transforms.subarray(at, at + 3), from) + transforms[at + 3];
      });
    });
  }
}
