// The service, as the page asks it. What it refuses becomes a Refusal with its words.

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The service does not answer.");
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Refusal(answer.status, said.detail ?? (answer.status === 413 ? "This is larger than the service takes: make it smaller." : `The service answered ${answer.status}.`));
  }
  return answer.status === 204 ? null : answer.json();
}

const json = (method, content) => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });

export const session = () => ask("/api/session");
export const enter = (key) => ask("/api/session", json("POST", { key }));
export const suggestions = () => ask("/api/suggestions");
export const images = (asked, signal) => ask(`/api/images?${asked}`, { signal });
export const image = (id) => ask(`/api/images/${id}`);
export const remove = (id) => ask(`/api/images/${id}`, { method: "DELETE" });
export const search = (asked, signal) => ask(`/api/search?${asked}`, { signal });
export const engines = () => ask("/api/engines");
export const build = (kind) => ask(`/api/engines/${kind}`, { method: "POST" });
export const measure = (kind, asked, signal) => ask(`/api/engines/${kind}?${asked}`, { signal });
export const judging = (asked) => ask(`/api/judging?${asked}`);
export const judge = (query, candidate, grade) => ask("/api/judgements", json("POST", { query, candidate, grade }));

/** Search with a picture; a large one is made small here first, which also leaves its EXIF data at home. */
export async function upload(file, asked, signal) {
  const body = new FormData();
  body.append("image", await smaller(file), "picture");
  return ask(`/api/search?${asked}`, { method: "POST", body, signal });
}

/** Add a picture to the collection. */
export async function add(blob, tags, isPrivate) {
  const body = new FormData();
  body.append("image", blob, "picture");
  body.append("tags", tags);
  body.append("private", String(isPrivate));
  return ask("/api/images", { method: "POST", body });
}

/** A click on a result: told even while the page goes elsewhere; nobody waits for it. */
export function click(list, image) {
  ask("/api/clicks", { ...json("POST", { list, image }), keepalive: true }).catch(() => {});
}

export const thumbnail = (id) => `/api/images/${id}/thumbnail`;
export const picture = (id) => `/api/images/${id}/picture`;

async function smaller(file) {
  if (file.size < 1_000_000) return file;
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, 1024 / Math.max(bitmap.width, bitmap.height));
    const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
  } catch {
    return file; // a format that this browser cannot read: perhaps the service can
  }
}
