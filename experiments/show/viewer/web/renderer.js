// A small WebGL 2 renderer: skinned bodies, their shadows, a ground grid and thick lines, in any number of cells.

// Runs once for each vertex of a posed body; what it finds is kept in a buffer for all that is drawn of the body.
const SKIN_VERTEX = `#version 300 es
precision highp float;
precision highp int;
layout(location = 0) in vec3 rest;
layout(location = 1) in vec3 restNormal;
layout(location = 2) in uvec4 jointIds;
layout(location = 3) in vec4 weights;
uniform highp sampler2D offsets; // directions of each vertex after one another
uniform vec4 coefficients[(NUM_OFFSETS + 3) / 4];
uniform vec4 transforms[72];
out vec3 place;
out vec3 normal;
void main() {
  vec3 point = rest;
  int width = textureSize(offsets, 0).x;
  for (int k = 0; k < NUM_OFFSETS; k++) {
    int at = gl_VertexID * NUM_OFFSETS + k;
    point += coefficients[k >> 2][k & 3] * texelFetch(offsets, ivec2(at % width, at / width), 0).xyz;
  }
  vec4 rows[3] = vec4[3](vec4(0.0), vec4(0.0), vec4(0.0));
  for (int i = 0; i < 4; i++)
    for (int row = 0; row < 3; row++) rows[row] += weights[i] * transforms[3 * int(jointIds[i]) + row];
  vec4 one = vec4(point, 1.0);
  place = vec3(dot(rows[0], one), dot(rows[1], one), dot(rows[2], one));
  normal = vec3(dot(rows[0].xyz, restNormal), dot(rows[1].xyz, restNormal), dot(rows[2].xyz, restNormal));
}`;

const NOTHING_FRAGMENT = `#version 300 es
void main() {}`;

const BODY_VERTEX = `#version 300 es
precision highp float;
layout(location = 0) in vec3 skinned;
layout(location = 1) in vec3 skinnedNormal;
uniform mat4 viewProjection;
uniform vec3 shadow; // direction to the light, or zero
out vec3 normal;
out vec3 place;
void main() {
  place = skinned;
  normal = skinnedNormal;
  if (shadow.y != 0.0) place = vec3(place.xz - shadow.xz * max(place.y, 0.0) / shadow.y, 0.002).xzy;
  gl_Position = viewProjection * vec4(place, 1.0);
}`;

const BODY_FRAGMENT = `#version 300 es
precision highp float;
in vec3 normal;
in vec3 place;
uniform vec4 colour;
uniform vec3 eye;
uniform vec3 shadow;
out vec4 result;
void main() {
  if (shadow.y != 0.0) { result = colour; return; }
  vec3 n = normalize(normal);
  vec3 toEye = normalize(eye - place);
  if (dot(n, toEye) < 0.0) n = -n;
  float sky = 0.5 + 0.5 * n.y;
  float key = max(dot(n, normalize(vec3(0.4, 0.8, 0.45))), 0.0);
  float head = max(dot(n, toEye), 0.0);
  vec3 lit = colour.rgb * (0.42 + 0.22 * sky + 0.26 * key + 0.28 * head) + vec3(0.10) * pow(head, 24.0);
  result = vec4(min(lit, 1.0), colour.a);
}`;

const GROUND_VERTEX = `#version 300 es
precision highp float;
uniform mat4 viewProjection;
uniform vec3 centre;
uniform float reach;
out vec2 place;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  place = centre.xz + corner * reach;
  gl_Position = viewProjection * vec4(place.x, 0.0, place.y, 1.0);
}`;

const GROUND_FRAGMENT = `#version 300 es
precision highp float;
in vec2 place;
uniform vec3 centre;
uniform float reach;
out vec4 result;
float lines(vec2 at) {
  vec2 away = abs(fract(at - 0.5) - 0.5);
  vec2 width = max(fwidth(at), 1e-6);
  vec2 line = 1.0 - smoothstep(0.4, 1.4, away / width);
  return max(line.x, line.y) * clamp(1.4 - 4.0 * max(width.x, width.y), 0.0, 1.0);
}
void main() {
  float fade = 1.0 - smoothstep(0.35, 1.0, length(place - centre.xz) / reach);
  float strength = 0.10 + 0.14 * lines(place * 2.0) + 0.34 * lines(place);
  result = vec4(vec3(0.52, 0.56, 0.6), strength * fade);
}`;

const LINE_VERTEX = `#version 300 es
precision highp float;
layout(location = 0) in vec3 from;
layout(location = 1) in vec3 to;
layout(location = 2) in vec3 colour;
uniform mat4 viewProjection;
uniform vec2 size; // of the cell, pixels
uniform float width; // pixels
out vec3 shade;
const float NEAR = 0.01;
void main() {
  vec4 a = viewProjection * vec4(from, 1.0);
  vec4 b = viewProjection * vec4(to, 1.0);
  shade = colour;
  if (a.w < NEAR && b.w < NEAR) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }
  if (a.w < NEAR) a = mix(b, a, (b.w - NEAR) / (b.w - a.w));
  if (b.w < NEAR) b = mix(a, b, (a.w - NEAR) / (a.w - b.w));
  vec2 along = (b.xy / b.w - a.xy / a.w) * size;
  vec2 side = length(along) > 1e-6 ? normalize(vec2(-along.y, along.x)) : vec2(0.0);
  vec4 end = (gl_VertexID & 1) == 0 ? a : b;
  float sign = (gl_VertexID >> 1) == 0 ? -1.0 : 1.0;
  gl_Position = end + vec4(sign * side * width / size * end.w, 0.0, 0.0);
}`;

const LINE_FRAGMENT = `#version 300 es
precision highp float;
in vec3 shade;
out vec4 result;
void main() { result = vec4(shade, 1.0); }`;

const DISC_VERTEX = `#version 300 es
precision highp float;
layout(location = 0) in vec3 centre;
layout(location = 1) in vec3 colour;
uniform mat4 viewProjection;
uniform float radius;
out vec2 place;
out vec3 shade;
void main() {
  place = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  shade = colour;
  gl_Position = viewProjection * vec4(centre + vec3(place.x, 0.0, place.y) * radius + vec3(0.0, 0.004, 0.0), 1.0);
}`;

const DISC_FRAGMENT = `#version 300 es
precision highp float;
in vec2 place;
in vec3 shade;
out vec4 result;
void main() {
  float away = length(place);
  if (away > 1.0) discard;
  result = vec4(shade, away > 0.8 ? 0.95 : 0.6);
}`;

const DISC_RADIUS = 0.06; // metres
const LIGHT = [0.25, 1, 0.3];
const BACKGROUND = [0.975, 0.978, 0.982];
const TEXTURE_WIDTH = 1024;

class Renderer {
  /** Throws an Error with a sentence where the browser has no WebGL 2. */
  constructor(canvas, body) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl2", { antialias: true, stencil: true, alpha: false });
    if (!gl) throw new Error("This browser offers no WebGL 2; switch on hardware acceleration, or try another browser.");
    this.gl = gl;
    this.body = body;
    this.load();
  }

  /** Everything that lives on the graphics card; again after it was lost. */
  load() {
    const { gl, body } = this;
    const skin = SKIN_VERTEX.replaceAll("NUM_OFFSETS", String(body.numOffsets));
    this.skins = program(gl, skin, NOTHING_FRAGMENT, ["place", "normal"]);
    this.bodies = program(gl, BODY_VERTEX, BODY_FRAGMENT);
    this.ground = program(gl, GROUND_VERTEX, GROUND_FRAGMENT);
    this.lines = program(gl, LINE_VERTEX, LINE_FRAGMENT);
    this.discs = program(gl, DISC_VERTEX, DISC_FRAGMENT);
    this.empty = gl.createVertexArray();

    this.skinned = []; // of each body in turn: {buffer, mesh}
    this.feedback = gl.createTransformFeedback();
    this.unposed = gl.createVertexArray();
    gl.bindVertexArray(this.unposed);
    attribute(gl, 0, body.template, 3);
    attribute(gl, 1, body.normals, 3);
    attribute(gl, 2, body.jointIds, 4, true);
    attribute(gl, 3, body.weights, 4);
    gl.bindVertexArray(this.empty);
    this.faces = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.faces);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, Uint32Array.from(body.faces), gl.STATIC_DRAW);

    const texels = body.offsets.length / 3;
    const height = Math.ceil(texels / TEXTURE_WIDTH);
    const padded = new Int8Array(4 * TEXTURE_WIDTH * height);
    for (let i = 0; i < texels; i++) for (let axis = 0; axis < 3; axis++) padded[4 * i + axis] = body.offsets[3 * i + axis];
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8_SNORM, TEXTURE_WIDTH, height, 0, gl.RGBA, gl.BYTE, padded);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);

    this.segments = gl.createVertexArray();
    this.segmentBuffer = gl.createBuffer();
    gl.bindVertexArray(this.segments);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.segmentBuffer);
    for (let i = 0; i < 3; i++) {
      gl.enableVertexAttribArray(i);
      gl.vertexAttribPointer(i, 3, gl.FLOAT, false, 36, 12 * i);
      gl.vertexAttribDivisor(i, 1);
    }
    this.spots = gl.createVertexArray();
    this.spotBuffer = gl.createBuffer();
    gl.bindVertexArray(this.spots);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.spotBuffer);
    for (let i = 0; i < 2; i++) {
      gl.enableVertexAttribArray(i);
      gl.vertexAttribPointer(i, 3, gl.FLOAT, false, 24, 12 * i);
      gl.vertexAttribDivisor(i, 1);
    }
    gl.bindVertexArray(null);
  }

  /** Takes the size that the canvas has on the screen; returns it in device pixels. */
  resize() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    return { width, height, ratio };
  }

  /**
   * Draws cells: {box: [x, y, width, height] in CSS pixels from the top left, camera: {viewProjection, eye, centre, reach},
   * bodies: [{pose, colour: [r, g, b], alpha}], lines: [[from, to, colour]], discs: [[centre, colour]], ground: whether to show the grid}.
   */
  draw(cells) {
    const { gl } = this;
    const { height, ratio } = this.resize();
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(...BACKGROUND, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.SCISSOR_TEST);
    for (const cell of cells) {
      const [x, y, w, h] = cell.box.map((side) => Math.round(side * ratio));
      gl.viewport(x, height - y - h, w, h);
      gl.scissor(x, height - y - h, w, h);
      gl.clear(gl.DEPTH_BUFFER_BIT | gl.STENCIL_BUFFER_BIT);
      this.skin(cell.bodies);
      if (cell.ground) this.drawGround(cell.camera);
      if (cell.ground && cell.camera.eye[1] > 0) this.drawShadows(cell);
      this.drawDiscs(cell.camera, cell.discs);
      for (const body of cell.bodies) if (body.alpha === 1) this.drawBody(cell.camera, body);
      this.drawLines(cell.camera, cell.lines, [w, h], 1.6 * ratio);
      for (const body of cell.bodies) if (body.alpha < 1) this.drawVeiled(cell.camera, body);
    }
  }

  drawGround(camera) {
    const { gl, ground } = this;
    gl.useProgram(ground.program);
    gl.uniformMatrix4fv(ground.at("viewProjection"), false, camera.viewProjection);
    gl.uniform3fv(ground.at("centre"), camera.centre);
    gl.uniform1f(ground.at("reach"), camera.reach);
    gl.bindVertexArray(this.empty);
    gl.enable(gl.BLEND);
    gl.depthMask(false);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    gl.depthMask(true);
    gl.disable(gl.BLEND);
  }

  /** On the ground, each place once however many bodies shade it. */
  drawShadows(cell) {
    const { gl } = this;
    gl.enable(gl.BLEND);
    gl.enable(gl.STENCIL_TEST);
    gl.stencilFunc(gl.EQUAL, 0, 255);
    gl.stencilOp(gl.KEEP, gl.KEEP, gl.INCR);
    gl.depthMask(false);
    for (const body of cell.bodies) if (body.alpha === 1) this.drawMesh(cell.camera, body, [0.2, 0.22, 0.26, 0.2], LIGHT);
    gl.depthMask(true);
    gl.disable(gl.STENCIL_TEST);
    gl.disable(gl.BLEND);
  }

  drawBody(camera, body) {
    this.drawMesh(camera, body, [...body.colour, 1], [0, 0, 0]);
  }

  /** Half transparent: depth first, so that only what is in front is seen and no limb through another. */
  drawVeiled(camera, body) {
    const { gl } = this;
    gl.colorMask(false, false, false, false);
    this.drawBody(camera, body);
    gl.colorMask(true, true, true, true);
    gl.enable(gl.BLEND);
    this.drawMesh(camera, body, [...body.colour, body.alpha], [0, 0, 0]);
    gl.disable(gl.BLEND);
  }

  /** Skins the bodies of a cell; each is given its `mesh`. */
  skin(bodies) {
    const { gl, skins, body } = this;
    gl.useProgram(skins.program);
    gl.bindVertexArray(this.unposed);
    gl.enable(gl.RASTERIZER_DISCARD);
    gl.bindTransformFeedback(gl.TRANSFORM_FEEDBACK, this.feedback);
    bodies.forEach((one, i) => {
      // A coefficient times its direction, which the texture holds as -1 to 1.
      const coefficients = new Float32Array(4 * Math.ceil(body.numOffsets / 4));
      one.pose.coefficients.forEach((value, k) => (coefficients[k] = value * body.offsetScales[k] * 127));
      const { buffer } = (this.skinned[i] ??= this.newMesh());
      gl.bindVertexArray(this.unposed);
      gl.uniform4fv(skins.at("coefficients"), coefficients);
      gl.uniform4fv(skins.at("transforms"), one.pose.transforms);
      gl.bindBufferBase(gl.TRANSFORM_FEEDBACK_BUFFER, 0, buffer);
      gl.beginTransformFeedback(gl.POINTS);
      gl.drawArrays(gl.POINTS, 0, body.numVertices);
      gl.endTransformFeedback();
      gl.bindBufferBase(gl.TRANSFORM_FEEDBACK_BUFFER, 0, null);
      one.mesh = this.skinned[i].mesh;
    });
    gl.bindTransformFeedback(gl.TRANSFORM_FEEDBACK, null);
    gl.disable(gl.RASTERIZER_DISCARD);
  }

  newMesh() {
    const { gl } = this;
    const [buffer, mesh] = [gl.createBuffer(), gl.createVertexArray()];
    gl.bindVertexArray(mesh);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, 24 * this.body.numVertices, gl.DYNAMIC_COPY);
    for (const i of [0, 1]) {
      gl.enableVertexAttribArray(i);
      gl.vertexAttribPointer(i, 3, gl.FLOAT, false, 24, 12 * i);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.faces);
    gl.bindVertexArray(null);
    gl.bindBuffer(gl.ARRAY_BUFFER, null); // it may not be bound twice while it is written
    return { buffer, mesh };
  }

  drawMesh(camera, body, colour, shadow) {
    const { gl, bodies } = this;
    gl.useProgram(bodies.program);
    gl.uniformMatrix4fv(bodies.at("viewProjection"), false, camera.viewProjection);
    gl.uniform3fv(bodies.at("eye"), camera.eye);
    gl.uniform3fv(bodies.at("shadow"), shadow);
    gl.uniform4fv(bodies.at("colour"), colour);
    gl.bindVertexArray(body.mesh);
    gl.drawElements(gl.TRIANGLES, this.body.faces.length, gl.UNSIGNED_INT, 0);
  }

  drawDiscs(camera, spots) {
    if (!spots.length) return;
    const { gl, discs } = this;
    gl.useProgram(discs.program);
    gl.uniformMatrix4fv(discs.at("viewProjection"), false, camera.viewProjection);
    gl.uniform1f(discs.at("radius"), DISC_RADIUS);
    gl.bindVertexArray(this.spots);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.spotBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, Float32Array.from(spots.flat(2)), gl.DYNAMIC_DRAW);
    gl.enable(gl.BLEND);
    gl.depthMask(false);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, spots.length);
    gl.depthMask(true);
    gl.disable(gl.BLEND);
  }

  drawLines(camera, segments, size, width) {
    if (!segments.length) return;
    const { gl, lines } = this;
    gl.useProgram(lines.program);
    gl.uniformMatrix4fv(lines.at("viewProjection"), false, camera.viewProjection);
    gl.uniform2fv(lines.at("size"), size);
    gl.uniform1f(lines.at("width"), width);
    gl.bindVertexArray(this.segments);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.segmentBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, Float32Array.from(segments.flat(2)), gl.DYNAMIC_DRAW);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, segments.length);
  }
}

function attribute(gl, index, values, size, whole = false) {
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(index);
  if (whole) gl.vertexAttribIPointer(index, size, gl.UNSIGNED_BYTE, 0, 0);
  else gl.vertexAttribPointer(index, size, values instanceof Uint8Array ? gl.UNSIGNED_BYTE : gl.FLOAT, true, 0, 0);
}

/** A linked program; `captured`: what its vertex shader leaves in a buffer. */
function program(gl, vertex, fragment, captured = []) {
  const linked = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(linked, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost())
      throw new Error(`This browser's graphics refuse a shader: ${gl.getShaderInfoLog(shader)}`);
  }
  if (captured.length) gl.transformFeedbackVaryings(linked, captured, gl.INTERLEAVED_ATTRIBS);
  gl.linkProgram(linked);
  if (!gl.getProgramParameter(linked, gl.LINK_STATUS) && !gl.isContextLost())
    throw new Error(`This browser's graphics refuse a program: ${gl.getProgramInfoLog(linked)}`);
  const places = new Map();
  const at = (name) => {
    if (!places.has(name)) places.set(name, gl.getUniformLocation(linked, name));
    return places.get(name);
  };
  return { program: linked, at };
}
