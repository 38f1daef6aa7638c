// A picture as the server can take it, and why it cannot, in a person's words.

const FORMATS = ["png", "jpeg", "webp", "gif", "bmp"].map((name) => `image/${name}`);
const SIDE = 1600; // pixels, the longer one of what is made anew: a PNG fits
const PIXELS = 2 ** 24; // of a photo that is made anew: Safari can no more
// Of the kind that phones take: a box "ftyp" with one of these brands.
const HEIC = /^.{4}ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)/s;
const WORDS = {
  400: "The server cannot read this picture: it may be broken. Save it anew, or take another.",
  403: "The server does not know this page. Open it at the address that the server printed.",
  408: "The picture was too long on its way. Try again.",
  413: "The picture is too large. Cut out what is to be read.",
  503: "The server has too much to do, or the picture is too much for it. Try again in a moment.",
};

// What to show, and what to send: the file itself, or what the browser makes of
// it, if the server does not know its kind, or would refuse its size. That is
// as large as can be where the model reads pictures as they are.
export async function openPicture(file, { limits, anySize }) {
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) throw new Error(await whyNot(file));
  const fits = FORMATS.includes(file.type) &&
    file.size < 0.7 * limits.bytes && // in base64 it is a third longer
    picture.width * picture.height <= limits.pixels;
  if (fits) return { picture, content: file };
  const most = Math.sqrt(
    Math.min(limits.pixels, PIXELS) / (picture.width * picture.height));
  const shrunk = anySize ? shrink(picture, most, "white")
    : shrink(picture, SIDE / Math.max(picture.width, picture.height));
  picture.close();
  return { picture: shrunk, content: anySize ? await jpeg(shrunk) : shrunk };
}

function jpeg(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
}

async function whyNot(file) {
  if (!file.size) return "The file is empty.";
  const bytes = new Uint8Array(await file.slice(0, 12).arrayBuffer());
  if (HEIC.test(String.fromCharCode(...bytes))) {
    return "This browser cannot show HEIC, the kind of photo that iPhones take. " +
      "Save it as JPEG, or take a screenshot of it.";
  }
  return "This file cannot be shown: it is no picture, is broken, or is of a " +
    "kind that this browser does not know. Choose a PNG or a JPEG file.";
}

function shrink(picture, most, ground) {
  const scale = Math.min(1, most);
  const shrunk = blank(Math.max(1, picture.width * scale),
    Math.max(1, picture.height * scale));
  const context = shrunk.getContext("2d");
  if (ground) { // JPEG has nothing transparent
    context.fillStyle = ground;
    context.fillRect(0, 0, shrunk.width, shrunk.height);
  }
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, shrunk.width, shrunk.height);
  return shrunk;
}

export function blank(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

// A file or a canvas as a data URL, which the server reads.
export function dataURL(content) {
  if (content instanceof HTMLCanvasElement) return content.toDataURL("image/png");
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(
      "The file cannot be read: it was moved, or changed. Open it again."));
    reader.readAsDataURL(content);
  });
}

// The value that the server gives; an `Error` is for a person to read.
export async function post(url, request, signal) {
  const cancelled = (words) => new Error(signal.aborted ? "Cancelled." : words);
  const reply = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
    signal,
  }).catch(() => {
    throw cancelled("The server does not answer. Is it still running?");
  });
  const value = await reply.json().catch(() => {
    throw cancelled("The server gave no answer. Try again.");
  });
  if (reply.ok) return value;
  console.info(value.error); // for who writes programs
  throw new Error(WORDS[reply.status] ?? "The server made a mistake. Try again.");
}
