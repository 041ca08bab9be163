// Posing the body: what the vertex shader needs of one pose of one shape.

class Body {
  constructor(packed) {
    this.numShapes = packed.num_shapes;
    this.template = unpack(packed.template);
    this.numVertices = this.template.length / 3;
    this.offsets = rawNumbers(packed.offsets);
    this.offsetScales = packed.offsets.scale;
    this.numOffsets = packed.offsets.shape[1];
    this.corrections = unpack(packed.corrections);
    this.jointIds = unpack(packed.joint_ids);
    this.weights = unpack(packed.weights);
    this.faces = unpack(packed.faces);
    this.jointTemplate = unpack(packed.joint_template);
    this.jointShapes = unpack(packed.joint_shapedirs);
    this.parents = packed.parents;
    this.twins = packed.mirror;
    this.normals = this.restNormals();
  }

  /** Joints of the unposed body, 24 x 3. */
  restJoints(betas) {
    const out = Float64Array.from(this.jointTemplate);
    for (let i = 0; i < out.length; i++)
      for (let s = 0; s < this.numShapes; s++) out[i] += this.jointShapes[i * this.numShapes + s] * betas[s];
    return out;
  }

  /**
   * A pose of `motion` and shape `betas`, moved by `lift` upwards.
   * Returns transforms (24 x 3 x 4, row by row) of the skin, coefficients of its offsets, and joints (24 x 3).
   */
  pose(motion, betas, lift) {
    const { rotations, translation } = motion;
    const rest = this.restJoints(betas);
    const world = new Float64Array(JOINTS * 9);
    const joints = new Float64Array(JOINTS * 3);
    const transforms = new Float32Array(JOINTS * 12);
    const move = [translation[0], translation[1] + lift, translation[2]];
    for (let joint = 0; joint < JOINTS; joint++) {
      const parent = this.parents[joint];
      for (let row = 0; row < 3; row++) {
        joints[3 * joint + row] = parent < 0 ? rest[row] : joints[3 * parent + row];
        for (let column = 0; column < 3; column++) {
          if (parent < 0) {
            world[3 * row + column] = rotations[3 * row + column];
            continue;
          }
          let sum = 0;
          for (let k = 0; k < 3; k++) sum += world[9 * parent + 3 * row + k] * rotations[9 * joint + 3 * k + column];
          world[9 * joint + 3 * row + column] = sum;
          const bone = rest[3 * joint + column] - rest[3 * parent + column];
          joints[3 * joint + row] += world[9 * parent + 3 * row + column] * bone;
        }
      }
      for (let row = 0; row < 3; row++) {
        const at = 12 * joint + 4 * row;
        let offset = joints[3 * joint + row] + move[row];
        for (let column = 0; column < 3; column++) {
          transforms[at + column] = world[9 * joint + 3 * row + column];
          offset -= world[9 * joint + 3 * row + column] * rest[3 * joint + column];
        }
        transforms[at + 3] = offset;
      }
    }
    for (let i = 0; i < joints.length; i++) joints[i] += move[i % 3];
    return { transforms, coefficients: this.coefficients(rotations, betas), joints };
  }

  /** How much of each offset: the shape, then the corrections of the pose. */
  coefficients(rotations, betas) {
    const out = new Float32Array(this.numOffsets);
    for (let k = 0; k < this.numOffsets; k++) {
      let sum = 0;
      if (k < this.numShapes) sum = betas[k];
      else {
        const row = (k - this.numShapes) * 207;
        for (let i = 0; i < 207; i++) sum += this.corrections[row + i] * (rotations[9 + i] - (i % 9 % 4 === 0 ? 1 : 0));
      }
      out[k] = sum;
    }
    return out;
  }

  /** Skinned vertices (V x 3), as the vertex shader computes them; for tests and measures. */
  skin({ transforms, coefficients }) {
    const out = new Float64Array(3 * this.numVertices);
    for (let v = 0; v < this.numVertices; v++) {
      const rest = [0, 1, 2].map((axis) => {
        let sum = this.template[3 * v + axis];
        for (let k = 0; k < this.numOffsets; k++)
          sum += coefficients[k] * this.offsetScales[k] * this.offsets[3 * (v * this.numOffsets + k) + axis];
        return sum;
      });
      for (let i = 0; i < 4; i++) {
        const weight = this.weights[4 * v + i] / 255;
        const at = 12 * this.jointIds[4 * v + i];
        for (let row = 0; row < 3; row++) {
          const [a, b, c, d] = transforms.subarray(at + 4 * row, at + 4 * row + 4);
          out[3 * v + row] += weight * (a * rest[0] + b * rest[1] + c * rest[2] + d);
        }
      }
    }
    return out;
  }

  restNormals() {
    const out = new Float32Array(this.template.length);
    const point = (v) => this.template.subarray(3 * v, 3 * v + 3);
    for (let f = 0; f < this.faces.length; f += 3) {
      const corners = this.faces.subarray(f, f + 3);
      const [a, b, c] = [...corners].map(point);
      const normal = cross(add(b, a, -1), add(c, a, -1)); // as long as the face is large
      for (const v of corners) for (let i = 0; i < 3; i++) out[3 * v + i] += normal[i];
    }
    for (let v = 0; v < out.length; v += 3) out.set(unit([...out.subarray(v, v + 3)]), v);
    return out;
  }
}
