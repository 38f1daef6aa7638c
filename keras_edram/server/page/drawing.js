// What the canvas shows: the picture, the windows in it, the answer, the pen.
// Points are fractions of the picture's sides, as the server has them.

const SIDE = 640; // pixels of the canvas, the longer side
const MARGIN = 0.05; // around the picture: a window may reach beyond it
const WINDOW = "#e5383b";
const ANSWER = "#2a9d3f";

// `shown` has `picture`, `prediction` up to glimpse `step`, and the `pen`, if
// there are.
export function paint(canvas, { picture, prediction, step, pen }) {
  const width = picture?.width ?? 1, height = picture?.height ?? 1;
  const scale = SIDE / Math.max(width, height);
  canvas.width = width * scale * (1 + 2 * MARGIN);
  canvas.height = height * scale * (1 + 2 * MARGIN);
  const context = canvas.getContext("2d");
  if (!picture) return;
  const place = ([x, y]) => [
    (x + MARGIN) * width * scale, (y + MARGIN) * height * scale,
  ];
  const [left, top] = place([0, 0]);
  context.fillRect(left, top, width * scale, height * scale); // if transparent
  context.imageSmoothingEnabled = scale < 1;
  context.drawImage(picture, left, top, width * scale, height * scale);
  if (pen) cross(context, place([pen.x, pen.y]), pen.down ? ANSWER : WINDOW);
  if (prediction) paintAnswer(context, place, prediction, step);
}

// A point of the canvas where something happens.
export function pointOf(canvas, event) {
  const place = canvas.getBoundingClientRect();
  const fraction = (value, size) => value / size * (1 + 2 * MARGIN) - MARGIN;
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

function paintAnswer(context, place, prediction, step) {
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
  const size = labelSize(context.canvas);
  corners.forEach(([x, y], index) => { // unless a later number would hide it
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
