// Images of a webcam or of a video, made small and encoded, as fast as the server takes them.
const SIDES = { fast: 320, balanced: 480, fine: 640 }; // of the images that are sent, at most, px
const JPEG = 0.85;

export const sideOf = (quality) => SIDES[quality];

export class Capture {
  constructor(video, link) {
    this.video = video;
    this.link = link;
    this.quality = "balanced";
    this.number = 0;
    this.busy = false;
    this.running = false;
    this.taken = new Map(); // number -> when the image was taken, and how long the encoding took
    this.encoder = new Worker("/page/encoder.js");
    this.encoder.onmessage = ({ data }) => this.encoded(data);
    this.turn = 0;
  }

  start() {
    this.running = true;
    const turn = ++this.turn; // an older loop ends
    const again = () => {
      if (turn !== this.turn || !this.running) return;
      if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(step);
      else requestAnimationFrame(step);
    };
    const step = () => { if (turn === this.turn) { this.take(); again(); } };
    again();
  }

  stop() {
    this.running = false;
    this.turn++;
  }

  async take() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (this.busy || !width || !this.link.ready) return;
    this.busy = true;
    const number = ++this.number, taken = performance.now();
    const scale = Math.min(1, SIDES[this.quality] / Math.max(width, height));
    const size = { resizeWidth: Math.round(width * scale), resizeHeight: Math.round(height * scale), resizeQuality: "low" };
    try {
      const bitmap = await createImageBitmap(this.video, size);
      this.taken.set(number, { taken });
      for (const old of this.taken.keys()) if (old < number - 20) this.taken.delete(old);
      this.encoder.postMessage({ bitmap, number, taken, quality: JPEG }, [bitmap]);
    } catch {
      this.busy = false; // the video has no image at this moment
    }
  }

  encoded({ message, number, encode }) {
    this.busy = false;
    if (!this.running) return;
    this.taken.get(number).encode = encode;
    this.link.sendFrame(number, message);
  }
}

export async function openCamera(video, device) {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers give a page the webcam only under localhost or https; open it there, or use a video or the sliders.");
  }
  const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
  if (device) wanted.deviceId = { exact: device };
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  } catch (error) {
    const sentences = {
      NotFoundError: "No webcam was found; plug one in, or use a video or the sliders.",
      OverconstrainedError: "This webcam is gone; choose another one.",
      NotAllowedError: "The webcam was refused; allow it beside the browser's address bar, and start it again.",
      NotReadableError: "Another program has the webcam; close it there, and start it again.",
    };
    throw new Error(sentences[error.name] || `The webcam cannot be opened (${error.name}); try another one.`);
  }
  video.muted = true;
  await video.play();
}

export function closeSource(video) {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.pause();
  video.srcObject = null;
  if (video.src.startsWith("blob:")) URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.controls = false;
  video.load();
}
