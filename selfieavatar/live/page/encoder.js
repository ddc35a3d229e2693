// Encodes the images of the camera in a thread of its own: on the page's thread JPEGs wait for it to be idle.
let canvas = null;
let context = null;

onmessage = async ({ data: { bitmap, number, taken, quality } }) => {
  const began = performance.now();
  if (!canvas || canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  }
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality });
  const jpeg = new Uint8Array(await blob.arrayBuffer());
  const message = new ArrayBuffer(16 + jpeg.length); // kind 0, three bytes of nothing, number, time
  const view = new DataView(message);
  view.setUint32(4, number, true);
  view.setFloat64(8, taken, true);
  new Uint8Array(message, 16).set(jpeg);
  postMessage({ message, number, encode: performance.now() - began }, [message]);
};
