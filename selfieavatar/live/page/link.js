// The connection to the server: opens again when it is lost, and keeps at most three frames under way.
const MOST_UNDER_WAY = 3;
const LOST_MS = 1000; // after which a frame without an answer is given up
const TOO_BIG = 1009;

export class Link {
  constructor(handlers) {
    this.handlers = handlers; // open, closed(sentence), message(object), frame(head, jpeg)
    this.wait = 500;
    this.underWay = new Map(); // number -> when it was sent
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/socket`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => { this.wait = 500; this.underWay.clear(); this.handlers.open(); };
    this.socket.onmessage = ({ data }) => this.receive(data);
    this.socket.onclose = (event) => this.lost(event);
  }

  async lost(event) {
    let sentence = "The connection is lost; trying again";
    if (event.code === TOO_BIG) sentence = "An image was too large for the server";
    if (event.code === 1006) { // refused, or no server: an ordinary request is told why
      try {
        const answer = await fetch("/socket");
        if (answer.status === 403 || answer.status === 503) sentence = (await answer.text()).trim();
      } catch { /* the server is gone */ }
    }
    this.handlers.closed(sentence);
    setTimeout(() => this.connect(), this.wait);
    this.wait = Math.min(2 * this.wait, 4000);
  }

  receive(data) {
    if (typeof data === "string") return this.handlers.message(JSON.parse(data));
    const length = new DataView(data).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    head.sent = this.underWay.get(head.number);
    for (const number of this.underWay.keys()) if (number <= head.number) this.underWay.delete(number);
    this.handlers.frame(head, new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
  }

  get ready() {
    if (this.socket.readyState !== WebSocket.OPEN || this.socket.bufferedAmount > 0) return false;
    const now = performance.now();
    for (const [number, sent] of this.underWay) if (now - sent > LOST_MS) this.underWay.delete(number);
    return this.underWay.size < MOST_UNDER_WAY;
  }

  sendFrame(number, message) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    this.underWay.set(number, performance.now());
    this.socket.send(message);
  }

  send(content) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(content instanceof ArrayBuffer ? content : JSON.stringify(content));
    return true;
  }
}
