// The page: what is chosen goes to the server, what it paints is shown.
import { Capture, closeSource, openCamera, sideOf } from "/page/capture.js";
import { Link } from "/page/link.js";
import { Speed } from "/page/speed.js";

const $ = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
const canvas = $("avatar"), context = canvas.getContext("2d", { alpha: false }), video = $("source");
const STATES = {
  following: ["Following", "good"], sliders: ["Sliders", "good"], calibrating: ["Calibrating: look into the camera at rest", "warn"],
  "no face": ["No face is seen: the last expression holds", "warn"], "another face": ["Another face: calibrating soon", "warn"],
  waiting: ["Waiting for a face", "warn"],
};
const speed = new Speed();
let values = {}, recordingSince = null, backgroundMessage = null, poseNumber = 1 << 20, shownNumber = 0, followed = false;

const link = new Link({ open: opened, closed, message: told, frame: painted });
const capture = new Capture(video, link);
globalThis.live = { speed, link, capture }; // for measurements

function opened() {
  shownNumber = 0;
  pill("connection", "Connected", "good");
  if (backgroundMessage) link.send(backgroundMessage.slice(0));
  sendSettings();
}

function closed(sentence) {
  pill("connection", "Not connected", "bad");
  pill("state", "Nothing is painted", "waiting");
  $("record").disabled = true;
  notice(`${sentence}.`.replace("..", "."), "problem");
  setRecording(false);
}

function pill(id, text, state) {
  $(id).textContent = text;
  $(id).dataset.state = state;
}

function notice(text, kind = "") {
  const box = $("notice");
  box.replaceChildren(...[text].flat());
  box.dataset.kind = kind;
  box.hidden = !text.length;
}

function told(content) {
  if (content.type === "hello") greet(content);
  if (content.type === "problem") notice(sentence(content.text), "problem");
  if (content.type === "recording") setRecording(true);
  if (content.type === "recorded") recorded(content);
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

function greet(hello) {
  canvas.width = canvas.height = hello.size_px;
  $("who").textContent = `Avatar of ${hello.subject || "an unnamed person"}, consent: ${hello.consent || "not stated"}`;
  $("person-name").textContent = hello.subject || "the avatar's person";
  $("served").hidden = !hello.video;
  $("served").textContent = `Play ${hello.video}`;
  const where = `Recordings are kept in ${hello.recordings}.`;
  const camera = hello.virtual_camera ? " Other programs see it as a camera." : "";
  $("about").textContent = `What you see is a synthetic likeness, ${hello.size_px} px, painted on this server in ${hello.precision}.`
    + `${camera} ${where} SelfieAvatar ${hello.version}.`;
  makeSliders(hello.sliders);
  if ($("notice").dataset.kind === "problem") notice("");
  if (chosen("driver") === "sliders") sendPose();
}

function makeSliders(sliders) {
  let group = "";
  $("sliders").replaceChildren(...sliders.flatMap((slider) => {
    const label = document.createElement("label"), input = document.createElement("input");
    label.className = "slider";
    Object.assign(input, { type: "range", min: slider.low, max: slider.high, step: 0.01, value: values[slider.key] ?? 0, name: slider.key });
    input.addEventListener("input", () => { values[slider.key] = Number(input.value); sendPose(); });
    label.append(slider.name, input);
    if (slider.group === group) return [label];
    group = slider.group;
    const title = document.createElement("p");
    title.className = "group";
    title.textContent = group;
    return [title, label];
  }));
}

async function painted(head, jpeg) {
  const received = performance.now();
  const image = await createImageBitmap(jpeg);
  const late = (head.state === "sliders") !== (chosen("driver") === "sliders"); // of what drove before
  if (late || (head.number < shownNumber && head.state !== "sliders")) return image.close();
  shownNumber = head.state === "sliders" ? 0 : head.number;
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
  requestAnimationFrame((now) => measured(head, Math.max(now, received)));
  $("record").disabled = false;
  followed ||= head.state === "following";
  const state = head.state === "no face" && !followed ? "waiting" : head.state;
  if (STATES[state]) pill("state", ...STATES[state]);
  if (head.recording !== (recordingSince !== null)) setRecording(head.recording);
}

function measured(head, shown) {
  const taken = capture.taken.get(head.number), { server, ...steps } = head.timings;
  const sent = head.sent === undefined ? NaN : shown - head.sent;
  if (taken && Number.isFinite(sent)) {
    steps.show = sent - Object.values(steps).reduce((sum, step) => sum + step, 0);
    steps.capture = head.sent - taken.taken;
  }
  const latency = taken ? shown - taken.taken : NaN;
  speed.add({ at: shown, latency, sent, steps, server, dropped: head.dropped, number: head.number, state: head.state });
}

function sendSettings() {
  const quality = chosen("quality");
  capture.quality = quality;
  $("quality-hint").textContent = `Images of up to ${sideOf(quality)} px are sent; the avatar's own size stays.`;
  const settings = { mirror: $("mirror").checked, background: chosen("background"), colour: $("colour").value, quality };
  link.send({ type: "settings", ...settings, is_person: $("person").checked });
  video.classList.toggle("mirrored", settings.mirror && Boolean(video.srcObject));
  $("panel-colour").hidden = settings.background !== "colour";
  $("panel-image").hidden = settings.background !== "image";
  if (chosen("driver") === "sliders") sendPose();
}

let poseAsked = false;
function sendPose() {
  if (poseAsked) return;
  poseAsked = true; // once for each image of the screen
  requestAnimationFrame(() => { poseAsked = false; link.send({ type: "pose", number: poseNumber++, values }); });
}

function setDriver() {
  const driver = chosen("driver");
  for (const name of ["camera", "video", "sliders"]) $(`panel-${name}`).hidden = name !== driver;
  $("own-face").hidden = driver === "sliders";
  $("recalibrate").disabled = true;
  capture.stop();
  closeSource(video);
  video.hidden = true;
  $("start").textContent = "Start the webcam";
  notice("");
  if (driver === "sliders") sendPose();
  else pill("state", "Choose what drives the avatar", "waiting");
}

function follow() {
  followed = false;
  pill("state", ...STATES.waiting);
  video.hidden = false;
  $("recalibrate").disabled = false;
  video.classList.toggle("mirrored", $("mirror").checked && Boolean(video.srcObject));
  link.send({ type: "recalibrate" });
  capture.start();
}

async function startCamera(device) {
  notice("");
  capture.stop();
  const before = video.srcObject;
  if (before && !device) { setDriver(); return; }
  closeSource(video);
  try {
    await openCamera(video, device);
  } catch (error) {
    setDriver();
    return notice(error.message, "problem");
  }
  $("start").textContent = "Stop the webcam";
  video.srcObject.getVideoTracks()[0].onended = () => { setDriver(); notice("The webcam has gone away; start it again.", "problem"); };
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === "videoinput");
  const current = video.srcObject?.getVideoTracks()[0].getSettings().deviceId;
  $("devices").replaceChildren(...cameras.map((one, n) => new Option(one.label || `Webcam ${n + 1}`, one.deviceId, false, one.deviceId === current)));
  $("devices").hidden = cameras.length < 2;
  follow();
}

async function play(source, name) {
  capture.stop();
  closeSource(video);
  video.src = source;
  video.loop = video.controls = true;
  video.muted = false;
  video.hidden = false;
  try {
    await video.play();
  } catch {
    try { // without a click, browsers play without sound alone
      video.muted = true;
      await video.play();
    } catch {
      setDriver();
      return notice(`This browser cannot play ${name}; give it an MP4 (H.264) or WebM.`, "problem");
    }
  }
  notice("");
  $("playing").textContent = name;
  follow();
}

function setRecording(on) {
  recordingSince = on ? recordingSince ?? performance.now() : null;
  $("record").setAttribute("aria-pressed", String(on));
  $("record").querySelector("span").textContent = on ? "Stop" : "Record";
}

function recorded({ file, seconds }) {
  setRecording(false);
  if (!file) return notice("Nothing was recorded.", "problem");
  const anchor = Object.assign(document.createElement("a"), { href: `/recordings/${file}`, textContent: `${file} (${seconds.toFixed(1)} s)` });
  notice(["Recorded: ", anchor]);
}

async function chooseBackground() {
  const file = $("image").files[0];
  if (!file) return;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return notice(`${file.name} is not an image that this browser can read.`, "problem");
  }
  const scale = Math.min(1, (2 * canvas.width) / Math.min(bitmap.width, bitmap.height));
  const small = new OffscreenCanvas(Math.max(16, bitmap.width * scale), Math.max(16, bitmap.height * scale));
  small.getContext("2d").drawImage(bitmap, 0, 0, small.width, small.height);
  const data = new Uint8Array(await (await small.convertToBlob({ type: "image/jpeg", quality: 0.92 })).arrayBuffer());
  const message = new Uint8Array(16 + data.length);
  message[0] = 1; // an image for the background
  message.set(data, 16);
  backgroundMessage = message.buffer;
  $("image-name").textContent = file.name;
  link.send(backgroundMessage.slice(0));
  sendSettings();
}

for (const one of document.querySelectorAll('input[name="driver"]')) one.addEventListener("change", setDriver);
for (const one of document.querySelectorAll('input[name="background"], input[name="quality"], #mirror, #person, #colour')) {
  one.addEventListener("input", sendSettings);
}
$("start").addEventListener("click", () => startCamera());
$("devices").addEventListener("change", () => startCamera($("devices").value));
$("file").addEventListener("change", () => { const [file] = $("file").files; if (file) play(URL.createObjectURL(file), file.name); });
$("served").addEventListener("click", () => play("/video", $("served").textContent.replace(/^Play /, "")));
$("image").addEventListener("change", chooseBackground);
$("recalibrate").addEventListener("click", () => link.send({ type: "recalibrate" }));
$("record").addEventListener("click", () => link.send({ type: "record", on: recordingSince === null }));
$("rest").addEventListener("click", () => {
  values = {};
  for (const input of $("sliders").querySelectorAll("input")) input.value = 0;
  sendPose();
});
setInterval(() => {
  speed.show($("rate"), $("steps"), $("speed"));
  if (recordingSince === null) return;
  const seconds = Math.floor((performance.now() - recordingSince) / 1000);
  $("record").querySelector("span").textContent = `Stop ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}, 500);
setInterval(() => { if (recordingSince !== null && chosen("driver") === "sliders") sendPose(); }, 100);
setDriver();
