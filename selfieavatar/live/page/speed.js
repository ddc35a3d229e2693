// Frame rate and latency, step by step.
const NAMES = {
  capture: "Take and encode the image", wait: "Wait for the tracking", decode: "Decode the image", landmarks: "Landmarks",
  calibration: "Calibration", fit: "Fit", retarget: "Retarget", render: "Render", paint: "Paint", dress: "Background",
  encode: "Encode the image", record: "Record", show: "Between the steps, and to the screen",
};
const KEPT = 300;

export class Speed {
  constructor() { this.frames = []; }

  // A frame: at (ms of the page's clock, when it was shown), latency (from the image's taking), sent (from its sending).
  add(frame) {
    this.frames.push(frame);
    if (this.frames.length > KEPT) this.frames.shift();
  }

  get recent() {
    const from = performance.now() - 2000;
    return this.frames.filter((frame) => frame.at > from);
  }

  summary() {
    const frames = this.recent;
    if (frames.length < 2) return null;
    const sum = {};
    for (const { steps } of frames) for (const step in steps) sum[step] = (sum[step] ?? 0) + steps[step] / frames.length;
    const seconds = (frames[frames.length - 1].at - frames[0].at) / 1000;
    const latency = frames.map((frame) => frame.latency).filter(Number.isFinite);
    return {
      rate: (frames.length - 1) / seconds, median: share(latency, 0.5), worst: share(latency, 0.95), steps: sum,
      dropped: frames[frames.length - 1].dropped,
    };
  }

  show(line, table, text) {
    const summary = this.summary();
    line.textContent = summary ? `${summary.rate.toFixed(0)} frames/s${latencyOf(summary)}` : "";
    if (!summary || !table.offsetParent) return;
    const longest = Math.max(...Object.values(summary.steps), 1);
    table.tBodies[0].replaceChildren(...Object.keys(NAMES).filter((step) => step in summary.steps).map((step) => {
      const row = document.createElement("tr"), bar = document.createElement("i");
      bar.style.width = `${(100 * summary.steps[step]) / longest}%`;
      row.insertCell().textContent = NAMES[step];
      row.insertCell().append(bar);
      row.insertCell().textContent = `${summary.steps[step].toFixed(1)} ms`;
      return row;
    }));
    const worst = Number.isFinite(summary.worst) ? `, 95 % of the frames within ${summary.worst.toFixed(0)} ms` : "";
    text.textContent = `Means of the last two seconds${worst}; ${summary.dropped} overtaken by newer ones since the page was opened.`;
  }
}

const latencyOf = (summary) => (Number.isFinite(summary.median) ? ` · ${summary.median.toFixed(0)} ms` : "");

function share(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] : NaN;
}
