// Marking a part of the picture, by pointer or by keys. The part is left, top, right, bottom, each from 0 to 1.

import { $ } from "./dom.js";

const LEAST = 0.04, STEP = 0.02;
let box = null;
let report = () => {};
let origin = null;

/** Begin to listen; `changed` is called with a new part, or null when it is removed. */
export function listen(changed) {
  report = changed;
  const frame = $("frame");
  frame.addEventListener("pointerdown", (event) => {
    if (event.button || !frame.classList.contains("marking")) return;
    event.preventDefault();
    frame.setPointerCapture(event.pointerId);
    origin = place(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!origin) return;
    const now = place(event);
    draw([Math.min(origin[0], now[0]), Math.min(origin[1], now[1]), Math.max(origin[0], now[0]), Math.max(origin[1], now[1])]);
  });
  const end = () => {
    if (!origin) return;
    origin = null;
    if (box && box[2] - box[0] >= LEAST && box[3] - box[1] >= LEAST) report(box);
    else draw(null);
  };
  frame.addEventListener("pointerup", end);
  frame.addEventListener("pointercancel", end);
  $("part").addEventListener("keydown", byKeys);
}

/** Show a part, or none. */
export function draw(next) {
  box = next;
  const part = $("part");
  part.hidden = !next;
  if (!next) return;
  const [left, top, right, bottom] = next;
  part.style.setProperty("--left", left);
  part.style.setProperty("--top", top);
  part.style.setProperty("--width", right - left);
  part.style.setProperty("--height", bottom - top);
}

/** Whether the picture takes marks now; by keys one begins with its middle. */
export function marking(on, byKey = false) {
  $("frame").classList.toggle("marking", on);
  $("mark").setAttribute("aria-pressed", String(on));
  if (on && byKey) {
    if (!box) draw([0.25, 0.25, 0.75, 0.75]);
    $("part").focus();
  }
}

/** A part as the address has it, and back. */
export const toText = (part) => part.map((edge) => edge.toFixed(3)).join(",");
export function fromText(text) {
  const part = (text ?? "").split(",").map(Number);
  return part.length === 4 && part.every((edge) => edge >= 0 && edge <= 1) ? part : null;
}

function place(event) {
  const area = $("picture").getBoundingClientRect();
  const clip = (value) => Math.min(1, Math.max(0, value));
  return [clip((event.clientX - area.left) / area.width), clip((event.clientY - area.top) / area.height)];
}

function byKeys(event) {
  const [across, down] = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key] ?? [0, 0];
  if (event.key === "Enter") report(box);
  else if (event.key === "Escape") {
    draw(null);
    marking(false);
    $("mark").focus();
    report(null);
  } else if (across || down) {
    let [left, top, right, bottom] = box;
    if (event.shiftKey) {
      right = Math.min(1, Math.max(left + LEAST, right + across));
      bottom = Math.min(1, Math.max(top + LEAST, bottom + down));
    } else {
      const sideways = Math.min(1 - right, Math.max(-left, across)), upright = Math.min(1 - bottom, Math.max(-top, down));
      [left, right, top, bottom] = [left + sideways, right + sideways, top + upright, bottom + upright];
    }
    draw([left, top, right, bottom]);
  } else return;
  event.preventDefault();
}
