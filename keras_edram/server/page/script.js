// The page of `keras-edram serve`: sends a picture, shows where the model
// looked.

import { paint, partOf, pointOf, stroke, WHOLE } from "./drawing.js";
import { blank, dataURL, openPicture, post } from "./picture.js";

const PEN_STEP = 0.02; // of the side, for one press of an arrow key
const SLOW = 3; // seconds, every so many it says that it still waits
const PLAY = 700; // milliseconds a glimpse

const get = (id) => document.getElementById(id);
const canvas = get("canvas");
let model = null; // what the server says of it
let picture = null; // as it is shown
let content = null; // what is sent: a file, or the picture itself
let opening = null; // the file that is about to be shown
let prediction = null;
let drawing = false;
let zoomed = false;
let pen = { x: 0.5, y: 0.5, down: false, keys: false };
let asking = null; // the AbortController of a request that is under way
let playing = null;

async function start() {
  try {
    const { models } = await (await fetch("v1/models")).json();
    const url = `v1/models/${models[0]}`;
    model = { url, ...(await (await fetch(`${url}/metadata`)).json()) };
  } catch {
    say("The server does not answer. Start it, then load this page again.");
    return;
  }
  const [, height, width, channels] = model.inputs[0].shape;
  const anySize = height < 0; // then a drawing has one of ours
  Object.assign(model, { anySize, channels },
    anySize ? { height: 100, width: 100 } : { height, width });
  get("model").textContent = `${model.name}, ${model.model}: images of ` +
    (anySize ? "any size" : `${width} × ${height} pixels`) +
    `, ${channels === 1 ? "grey" : "colour"}`;
  const learnt = [];
  if (model.learnt_from) learnt.push(`Its training: ${model.learnt_from}.`);
  if (model.dark_ground) learnt.push("It reads light digits on a dark ground.");
  get("learnt").textContent = learnt.join(" ");
  if (model.num_glimpses !== null) {
    get("budget").hidden = false;
    get("glimpses").max = get("glimpses").value = model.num_glimpses;
  }
  // Digits of MNIST are about 2.5 pixels thick.
  const side = Math.max(model.width, model.height);
  get("pen").value = Math.max(1, Math.round(250 / side));
  showSettings();
  clear();
}

function showSettings() {
  const confidence = get("confidence").value;
  get("confidence_said").value = confidence === "100" ? "never" : `${confidence} %`;
  get("glimpses_said").value = `${get("glimpses").value} of ${get("glimpses").max}`;
  get("pen_said").value = `${get("pen").value} %`;
}

function say(text, refused = true) {
  get("status").textContent = text;
  get("status").classList.toggle("refused", refused);
}

// --- The picture ---

function clear() {
  asking?.abort();
  picture = content = opening = null;
  zoomed = false;
  if (drawing) {
    const scale = 512 / Math.max(model.width, model.height);
    picture = content = blank(model.width * scale, model.height * scale);
    const context = picture.getContext("2d");
    context.fillStyle = model.channels === 1 ? "black" : "white";
    context.fillRect(0, 0, picture.width, picture.height);
  }
  forget();
}

function forget() { // the answer, which is no longer that to the picture
  prediction = null;
  stop();
  for (const id of ["text", "sure", "notes", "patches"]) get(id).replaceChildren();
  get("steps").hidden = get("seen").hidden = get("zooming").hidden = true;
  say("");
  get("read").disabled = !content;
  get("pens").hidden = !drawing;
  get("draw").setAttribute("aria-pressed", drawing);
  canvas.className = drawing ? "drawing" : picture ? "" : "empty";
  canvas.setAttribute("role", drawing ? "application" : "img"); // takes keys
  get("hint").textContent = drawing
    ? "Draw with a finger or the mouse; or focus the picture, move with the " +
      "arrow keys, and set the pen down or up with the space bar. Then press Read."
    : picture ? "" : "Drop a picture anywhere here, paste or open one, or draw.";
  repaint();
}

async function take(chosen) {
  if (!chosen) {
    say("That is no file. Drop a picture file, such as PNG or JPEG.");
    return;
  }
  drawing = false;
  clear();
  opening = chosen;
  say("Opening the picture …", false);
  try {
    const opened = await openPicture(chosen, model);
    if (opening !== chosen) return; // another one has the word
    ({ picture, content } = opened);
    forget();
    read();
  } catch (error) {
    if (opening === chosen) say(error.message);
  }
}

// --- Drawing: on the picture, and what it shows ---

function repaint() {
  const step = Number(get("step").value);
  const near = zoomed && prediction !== null && !drawing;
  if (prediction && !drawing) canvas.className = near ? "near" : "whole";
  get("zoom").setAttribute("aria-pressed", near);
  paint(canvas, {
    picture,
    prediction,
    step,
    part: near ? partOf(picture, prediction, step) : WHOLE,
    pen: drawing && pen.keys ? pen : null,
  });
}

function movePen(x, y, down) {
  if (down) {
    asking?.abort();
    const colour = model.channels === 1 ? "white" : "black";
    stroke(picture, [pen.x, pen.y], [x, y], get("pen").value / 100, colour);
    if (prediction || get("status").textContent) forget();
  }
  Object.assign(pen, { x, y });
  repaint();
}

canvas.addEventListener("pointerdown", (event) => {
  if (!drawing) return;
  canvas.setPointerCapture(event.pointerId);
  [pen.x, pen.y] = pointOf(canvas, event);
  pen.down = true;
  pen.keys = false;
  movePen(pen.x, pen.y, true); // a dot
});
canvas.addEventListener("pointermove", (event) => {
  if (drawing && pen.down && !pen.keys) movePen(...pointOf(canvas, event), true);
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => { pen.down = false; });
}
canvas.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.repeat) zoom();
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1],
    ArrowDown: [0, 1], " ": [0, 0] }[event.key];
  if (!move) return;
  if (drawing) {
    pen.down = pen.keys && pen.down; // not the mouse's
    pen.keys = true;
    if (event.key === " ") pen.down = !pen.down;
    const inside = (value) => Math.min(Math.max(value, 0), 1);
    movePen(inside(pen.x + PEN_STEP * move[0]),
      inside(pen.y + PEN_STEP * move[1]), pen.down);
  } else if (prediction && move[0]) {
    show(Number(get("step").value) + move[0]);
  } else {
    return;
  }
  event.preventDefault(); // the page would scroll
});

// The whole picture, or what is read in it at the present step.
function zoom() {
  if (drawing || !prediction) return;
  zoomed = !zoomed;
  repaint();
}

canvas.addEventListener("click", zoom);
get("zoom").addEventListener("click", zoom);

// --- Asking the server ---

async function read() {
  asking?.abort();
  forget();
  const mine = asking = new AbortController();
  const parameters = { glimpses: true };
  if (model.num_glimpses !== null) {
    parameters.max_glimpses = Number(get("glimpses").value);
    if (get("confidence").value < 100) {
      parameters.confidence = get("confidence").value / 100;
    }
  }
  const began = Date.now();
  say("Reading …", false);
  const clock = setInterval(() => {
    const seconds = Math.round((Date.now() - began) / 1000);
    if (seconds % SLOW) return; // not every second, for those who hear it
    say(`Still reading, for ${seconds} seconds …`, false);
  }, 1000);
  get("cancel").hidden = false;
  document.body.setAttribute("aria-busy", "true");
  try {
    const instances = [{ b64: await dataURL(content) }];
    const value = await post(
      `${model.url}:predict`, { instances, parameters }, mine.signal);
    if (mine === asking) answer(value.predictions[0]);
  } catch (error) {
    if (mine === asking) say(error.message); // else another one has the word
  } finally {
    clearInterval(clock);
    if (mine === asking) {
      asking = null;
      get("cancel").hidden = true;
      document.body.removeAttribute("aria-busy");
    }
  }
}

// --- The answer ---

function answer(given) {
  prediction = given;
  const { sequence, probability, windows, num_glimpses: taken, notes } = given;
  say("", false);
  get("text").textContent = sequence ?? "I do not know";
  if (sequence === "") get("text").textContent = "nothing";
  get("sure").textContent = `${(100 * probability).toFixed(1)} % sure` +
    (taken ? `, after ${taken} of ${model.num_glimpses} glimpses` : "");
  get("notes").textContent = (notes ?? []).join(" ");
  get("patches").replaceChildren(...given.patches.map(patch));
  get("seen").hidden = false;
  get("steps").hidden = windows.length < 2;
  get("zooming").hidden = drawing;
  if (!drawing) {
    get("hint").textContent =
      "Click the picture, or press Enter on it, to see it nearer and back.";
  }
  get("step").max = windows.length;
  show(windows.length);
}

function patch(url, index) {
  const image = Object.assign(new Image(), { src: url, alt: "" });
  image.onload = () => { // the scales of a retina stand side by side
    const wide = image.naturalWidth > 2 * image.naturalHeight;
    get("patches").classList.toggle("wide", wide);
  };
  const text = document.createElement("span");
  text.textContent = `Glimpse ${index + 1}`;
  const button = document.createElement("button");
  button.append(image, text);
  if (prediction.seen) {
    const { name, probability } = prediction.seen[index];
    const seen = document.createElement("small");
    seen.textContent = `sees ${name}, ${Math.round(100 * probability)}\u00a0%`;
    button.append(seen);
  }
  button.addEventListener("click", () => show(index + 1));
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function show(step) {
  const last = prediction.windows.length;
  step = Math.min(Math.max(step, 1), last);
  get("step").value = step;
  get("step").setAttribute("aria-valuetext", `glimpse ${step} of ${last}`);
  [...get("patches").children].forEach((item, index) => {
    const current = index === step - 1;
    item.firstChild.toggleAttribute("aria-current", current);
  });
  get("previous").disabled = step === 1;
  get("next").disabled = step === last;
  repaint();
}

function stop() {
  clearInterval(playing);
  playing = null;
  get("play").textContent = "Play";
}

function play() {
  if (playing) {
    stop();
    return;
  }
  get("play").textContent = "Stop";
  show(1);
  playing = setInterval(() => {
    show(Number(get("step").value) + 1);
    if (get("step").value === get("step").max) stop();
  }, PLAY);
}

get("file").addEventListener("change", (event) => {
  if (event.target.files.length) take(event.target.files[0]);
  event.target.value = ""; // so that the same one can be chosen again
});
get("draw").addEventListener("click", () => { drawing = !drawing; clear(); });
get("clear").addEventListener("click", clear);
get("read").addEventListener("click", read);
get("cancel").addEventListener("click", () => asking?.abort());
get("previous").addEventListener("click", () => show(Number(get("step").value) - 1));
get("next").addEventListener("click", () => show(Number(get("step").value) + 1));
get("step").addEventListener("input", () => show(Number(get("step").value)));
get("play").addEventListener("click", play);
for (const id of ["confidence", "glimpses", "pen"]) {
  get(id).addEventListener("input", showSettings);
}
for (const id of ["confidence", "glimpses"]) {
  get(id).addEventListener("change", () => { if (prediction || asking) read(); });
}
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files[0]);
});
start();
