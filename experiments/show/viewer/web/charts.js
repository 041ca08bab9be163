// Flat drawings: labels and 2D joints over the scene, the phase curves, the map of codes.

const INK = "#1d2329";
const SOFT = "#5d6770";
const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif";
const NUMBERS = "bold 11px system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif";

/** The context of a canvas in CSS pixels, cleared. */
function paper(canvas) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  context.textBaseline = "middle";
  return { context, width, height };
}

/** A coloured chip with a number at (x, y), its left middle; returns its width. */
function chip(context, x, y, text, colour) {
  context.font = NUMBERS;
  const width = Math.max(19, context.measureText(text).width + 8);
  context.fillStyle = colour;
  context.beginPath();
  context.roundRect(x, y - 9, width, 17, 4);
  context.fill();
  context.fillStyle = "#fff";
  context.textAlign = "center";
  context.fillText(text, x + width / 2, y);
  context.textAlign = "left";
  context.font = FONT;
  return width;
}

/** Name and time of a person in the upper left of a cell, cut to its width. */
function cellLabel(context, [x, y, width], { name, number, colour, note }) {
  const begin = x + 10 + (number ? chip(context, x + 8, y + 17, number, colour) + 4 : 0);
  context.fillStyle = INK;
  const roomy = width > 170; // else there is none for the note
  const room = x + width - begin - (roomy ? 62 : 8);
  let text = name;
  // Names of clips differ at their ends.
  for (let cut = 5; cut < name.length && context.measureText(text).width > room; cut++)
    text = `${name.slice(0, 4)}…${name.slice(cut)}`;
  context.fillText(text, begin, y + 17);
  if (!roomy) return;
  context.fillStyle = SOFT;
  context.textAlign = "right";
  context.fillText(note, x + width - 10, y + 17);
  context.textAlign = "left";
}

/** Input joints [[x, y, seen]] of a frame and their limbs, inside a cell. */
function drawJoints(context, box, points, limbs) {
  context.save();
  context.beginPath();
  context.rect(...box);
  context.clip();
  for (const [style, width] of [["#fff", 4], [INK, 1.6]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    for (const [a, b] of limbs) {
      if (!points[a][2] || !points[b][2]) continue;
      context.moveTo(points[a][0], points[a][1]);
      context.lineTo(points[b][0], points[b][1]);
    }
    context.stroke();
  }
  for (const [x, y, seen] of points) {
    if (!seen) continue;
    context.beginPath();
    context.arc(x, y, 2.6, 0, 2 * Math.PI);
    context.fillStyle = INK;
    context.fill();
    context.strokeStyle = "#fff";
    context.lineWidth = 1;
    context.stroke();
  }
  context.restore();
}

/** Phase against clip time. `people`: [{colour, duration, phaseAt, raw, phase, shown}]. Returns what a point stands for. */
function drawCurves(canvas, people, sync) {
  const { context, width, height } = paper(canvas);
  const frame = { left: 30, right: width - 10, top: 10, bottom: height - 24 };
  const longest = Math.max(...people.map((person) => person.duration), 1e-6);
  const x = (seconds) => frame.left + (seconds / longest) * (frame.right - frame.left);
  const y = (phase) => frame.bottom - phase * (frame.bottom - frame.top);
  context.strokeStyle = "#dfe3e7";
  context.strokeRect(frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top);
  context.fillStyle = SOFT;
  context.textAlign = "right";
  for (const phase of [0, 1]) context.fillText(String(phase), frame.left - 5, y(phase));
  context.textAlign = "left";
  context.fillText("0", frame.left, height - 11);
  context.textAlign = "right";
  context.fillText(`${longest.toFixed(1)} s`, frame.right, height - 11);
  context.textAlign = "center";
  context.fillText("clip time", (frame.left + frame.right) / 2, height - 11);
  context.save();
  context.translate(12, (frame.top + frame.bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText("phase", 0, 0);
  context.restore();
  context.textAlign = "left";
  for (const person of [...people].sort((a, b) => a.shown - b.shown)) {
    context.globalAlpha = person.shown ? 1 : 0.18;
    context.strokeStyle = context.fillStyle = person.colour;
    context.lineWidth = 1.6;
    context.beginPath();
    for (let i = 0; i <= 60; i++) context.lineTo(x((i / 60) * person.duration), y(person.phaseAt(i / 60)));
    context.stroke();
    if (!person.shown) continue;
    context.beginPath();
    context.arc(x(person.raw * person.duration), y(person.phase), 3.5, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
  const now = people.find((person) => person.shown);
  if (now && sync === "phase") {
    context.strokeStyle = "#7b848c";
    context.setLineDash([3, 3]);
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(frame.left, y(now.phase));
    context.lineTo(frame.right, y(now.phase));
    context.stroke();
    context.setLineDash([]);
  }
  return {
    seconds: (px) => clamp((px - frame.left) / (frame.right - frame.left), 0, 1) * longest,
    phase: (py) => clamp((frame.bottom - py) / (frame.bottom - frame.top), 0, 1),
  };
}

/** The codes in their plane, and the chosen point. Returns the code-plane point of a pixel. */
function drawMap(canvas, points, colours, chosen, active) {
  const { context, width, height } = paper(canvas);
  const middle = [0, 1].map((i) => {
    const all = points.map((point) => point[i]);
    return (Math.min(...all) + Math.max(...all)) / 2;
  });
  const reach = (i) => Math.max(...points.map((point) => Math.abs(point[i] - middle[i])), 1e-9);
  const scale = Math.min((width / 2 - 26) / reach(0), (height / 2 - 22) / reach(1));
  const place = (point) => [width / 2 + (point[0] - middle[0]) * scale, height / 2 - (point[1] - middle[1]) * scale];
  const at = place(chosen);
  context.globalAlpha = active ? 1 : 0.55;
  points.forEach((point, n) => {
    const [x, y] = place(point);
    chip(context, x - 10, y, String(n + 1), colours[n]);
  });
  context.strokeStyle = "#fff";
  context.lineWidth = 5;
  for (let pass = 0; pass < 2; pass++) {
    context.beginPath();
    context.arc(...at, 7, 0, 2 * Math.PI);
    context.moveTo(at[0] - 12, at[1]);
    context.lineTo(at[0] + 12, at[1]);
    context.moveTo(at[0], at[1] - 12);
    context.lineTo(at[0], at[1] + 12);
    context.stroke();
    context.strokeStyle = INK;
    context.lineWidth = 1.8;
  }
  context.globalAlpha = 1;
  return (px, py) => [(px - width / 2) / scale + middle[0], (height / 2 - py) / scale + middle[1]];
}
