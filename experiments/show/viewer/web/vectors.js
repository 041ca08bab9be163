// Vectors of three numbers, and matrices of sixteen, column by column, as WebGL takes them.

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const add = (a, b, scale = 1) => [a[0] + scale * b[0], a[1] + scale * b[1], a[2] + scale * b[2]];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const mix = (a, b, share) => a + (b - a) * share;

function unit(vector) {
  const length = Math.max(Math.sqrt(dot(vector, vector)), 1e-12);
  return vector.map((value) => value / length);
}

/** World to eye, from axes that point right, up and back, and the eye's place. */
function viewMatrix(right, up, back, eye) {
  return [
    right[0], up[0], back[0], 0, right[1], up[1], back[1], 0, right[2], up[2], back[2], 0,
    -dot(right, eye), -dot(up, eye), -dot(back, eye), 1,
  ];
}

/** Perspective of focal lengths and centre in clip units: x = (fx X + cx Z) / Z in eyes that look along -z. */
function projectionMatrix(fx, fy, cx, cy, near, far) {
  const depth = (far + near) / (near - far);
  return [fx, 0, 0, 0, 0, fy, 0, 0, -cx, -cy, depth, -1, 0, 0, (2 * far * near) / (near - far), 0];
}

function multiply(a, b) {
  const out = new Array(16).fill(0);
  for (let column = 0; column < 4; column++)
    for (let row = 0; row < 4; row++)
      for (let k = 0; k < 4; k++) out[4 * column + row] += a[4 * k + row] * b[4 * column + k];
  return out;
}

/** A point in clip coordinates (x, y, z, w). */
function project(matrix, point) {
  return [0, 1, 2, 3].map(
    (row) => matrix[row] * point[0] + matrix[4 + row] * point[1] + matrix[8 + row] * point[2] + matrix[12 + row],
  );
}
