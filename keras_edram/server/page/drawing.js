// What the canvas shows: the picture, the windows in it, the answer, the pen.
// Points are fractions of the picture's sides, as the server has them.

const SIDE = 640; // pixels of the canvas, the longer side
const MARGIN = 0.05; // around the picture: a window may reach beyond it
const AROUND = 1.4; // of what is zoomed to, so much is shown
const LEAST = 24; // pixels of the picture
const WINDOW = "#e5383b";
const ANSWER = "#2a9d3f";

// A part of a picture, its left top and what it has of either side: the whole.
export const WHOLE = { x: -MARGIN, y: -MARGIN, size: 1 + 2 * MARGIN };

// What is read: the objects once all glimpses are shown, else the window.
export function partOf(picture, prediction, step) {
  const { windows, boxes } = prediction;
  const points = step === windows.length && boxes.length
    ? boxes.flatMap(([x0, y0, x1, y1]) => [[x0, y0], [x1, y1]])
    : windows[step - 1];
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const extent = (values) => Math.max(...values) - Math.min(...values);
  const middle = (values) => (Math.max(...values) + Math.min(...values)) / 2;
  const least = LEAST / Math.max(picture.width, picture.height);
  const size = Math.min(WHOLE.size,
    Math.max(AROUND * Math.max(extent(xs), extent(ys)), least));
  const inside = (value) => // not beyond what the whole shows
    Math.min(Math.max(value - size / 2, WHOLE.x), WHOLE.x + WHOLE.size - size);
  return { x: inside(middle(xs)), y: inside(middle(ys)), size };
}

// `shown` has the `part` of the `picture`, the `prediction` up to glimpse
// `step`, and the `pen`, if there are.
export function paint(canvas, { picture, part, prediction, step, pen }) {
  const width = picture?.width ?? 1, height = picture?.height ?? 1;
  const side = SIDE / Math.max(width, height);
  const scale = side * WHOLE.size / part.size;
  canvas.width = width * side * WHOLE.size;
  canvas.height = height * side * WHOLE.size;
  const context = canvas.getContext("2d");
  if (!picture) return;
  const place = ([x, y]) => [
    (x - part.x) * width * scale, (y - part.y) * height * scale,
  ];
  // Of a photo only what is seen: nearby the whole would be a huge canvas.
  const inside = (value) => Math.min(Math.max(value, 0), 1);
  const [x0, y0] = [inside(part.x), inside(part.y)];
  const [x1, y1] = [inside(part.x + part.size), inside(part.y + part.size)];
  const size = [(x1 - x0) * width, (y1 - y0) * height];
  const to = [...place([x0, y0]), ...size.map((pixels) => pixels * scale)];
  context.fillRect(...to); // if transparent
  context.imageSmoothingEnabled = scale < 1;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, x0 * width, y0 * height, ...size, ...to);
  if (pen) cross(context, place([pen.x, pen.y]), pen.down ? ANSWER : WINDOW);
  if (prediction) paintAnswer(context, place, prediction, step, part);
}

// A point of the canvas where something happens.
export function pointOf(canvas, event) {
  const place = canvas.getBoundingClientRect();
  const fraction = (value, size) => value / size * WHOLE.size - MARGIN;
  return [fraction(event.clientX - place.left, place.width),
    fraction(event.clientY - place.top, place.height)];
}

// A line in a picture that is a canvas; the width is a fraction as well.
export function stroke(picture, [x0, y0], [x1, y1], width, colour) {
  const context = picture.getContext("2d");
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = width * Math.max(picture.width, picture.height);
  context.strokeStyle = colour;
  context.beginPath();
  context.moveTo(x0 * picture.width, y0 * picture.height);
  context.lineTo(x1 * picture.width, y1 * picture.height);
  context.stroke();
}

function paintAnswer(context, place, prediction, step, part) {
  const windows = prediction.windows.slice(0, step);
  windows.forEach((window, index) => {
    const current = index === step - 1;
    context.globalAlpha = current ? 1 : 0.55;
    outline(context, window.map(place), WINDOW, current ? 4 : 2);
  });
  context.globalAlpha = 1;
  if (step === prediction.windows.length) {
    prediction.boxes.forEach(([x0, y0, x1, y1], index) => {
      const corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]].map(place);
      outline(context, corners, ANSWER, 4);
      label(context, corners[3], prediction.names[index], ANSWER, false);
    });
  }
  const corners = windows.map(([first]) => place(first));
  const { width, height } = context.canvas;
  const size = labelSize(context.canvas);
  // Unless a later number would hide it, or it is that of a window beyond.
  corners.forEach(([x, y], index) => {
    const beyond = x < 0 || x > width || y < 0 || y > height;
    if (part !== WHOLE && beyond) return;
    const hidden = corners.slice(index + 1).some(
      ([other, another]) => Math.hypot(other - x, another - y) < size);
    if (!hidden) label(context, [x, y], String(index + 1), WINDOW, true);
  });
}

function outline(context, points, colour, width) {
  context.beginPath();
  points.forEach((point) => context.lineTo(...point));
  context.closePath();
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
}

function labelSize(canvas) { // in the canvas's pixels, as large on a phone
  return 20 * canvas.width / canvas.clientWidth;
}

function label(context, [x, y], text, colour, above) { // or below the point
  const { canvas } = context;
  const size = labelSize(canvas);
  context.font = `bold ${size * 0.75}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const width = context.measureText(text).width + size * 0.4;
  const inside = (value, most) => Math.min(Math.max(value, 0), most);
  const left = inside(x, canvas.width - width);
  const top = inside(above ? y - size : y, canvas.height - size);
  context.fillStyle = colour;
  context.fillRect(left, top, width, size);
  context.fillStyle = "white";
  context.fillText(text, left + size * 0.2, top + size * 0.55);
}

function cross(context, [x, y], colour) {
  context.strokeStyle = colour;
  context.lineWidth = 3;
  context.beginPath();
  for (const [dx, dy] of [[12, 0], [0, 12]]) {
    context.moveTo(x - dx, y - dy);
    context.lineTo(x + dx, y + dy);
  }
  context.stroke();
}
