"use strict";
/* The page of eg3d/viewer.py. The state is a view (wanted_view.py); it is drawn by the server, small while it moves and
   whole when it rests, and stands in the address after #. One request is on its way at a time: what is asked next is
   always the newest view. */

const id = name => document.getElementById(name);
const token = new URLSearchParams(location.search).get("token") || "";
const client = Array.from(crypto.getRandomValues(new Uint8Array(12)), b => b.toString(16).padStart(2, "0")).join("");
const REST_MS = 140;      // without a change: then the whole picture is asked for
const TURN_RAD = 1.9;     // by a drag across a picture
const FRESH_MS = 250;     // the arrow of eyes read longer ago is pale; if each one but the newest were, it would flicker
const PAD_DEG = [35, 20]; // at the edges of the gaze pad
const degrees = radians => radians * 180 / Math.PI;
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const signed = (value, digits = 0) => (value < 0 && value.toFixed(digits) !== (-0).toFixed(digits) ? "\u2212" : "+")
  + Math.abs(value).toFixed(digits) + "\u00b0";

let about, state, drawn = null, panels = [], pathTaken = [];
const stats = { frames: [], waits: [], shown: "" };  // for the line below the pictures, and for tests
window.stats = stats;

/* ---- talking to the server ---- */

async function post(path, message, signal) {
  const answer = await fetch(path, {
    method: "POST", signal, headers: { "X-Viewer-Token": token, "Content-Type": "application/json" },
    body: JSON.stringify({ client, ...message }),
  });
  if (!answer.ok) throw new Error((await answer.text()).slice(0, 300));
  return answer;
}

/** Facts and contents of a message; see saving.report. Null if there is not a whole one yet. */
function unpack(bytes) {
  if (bytes.length < 4) return null;
  const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  if (bytes.length < 4 + size) return null;
  const facts = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  let at = 4 + size;
  const contents = facts.bytes.map(length => bytes.subarray(at, at += length));
  return bytes.length < at ? null : { facts, contents, rest: bytes.subarray(at) };
}

function trouble(error) {
  id("trouble").hidden = !error;
  if (error) id("trouble").textContent = error instanceof TypeError ? "The server does not answer. Is it still running?" : error.message;
}

/* ---- the view as a text ---- */

function viewText(view = state) {
  return Object.entries(view)
    .filter(([name, value]) => value !== about.defaults[name])
    .map(([name, value]) => `${name}=${typeof value === "number" ? +value.toFixed(5) : value}`).join("&");
}

function readAddress() {
  state = { ...about.defaults };
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    if (!(name in state)) continue;
    const number = Number(value);
    state[name] = typeof state[name] === "number" ? (Number.isFinite(number) ? number : state[name]) : value;
  }
}

/* ---- drawing: one request on its way, the newest view next ---- */

let busy = false, dirty = false, whole = null, resting = 0, since = 0;

/** The view has changed by a hand: a preview now, the whole picture when it rests. */
function changed() {
  if (!dirty) since = performance.now();
  dirty = true;
  if (whole) whole.abort();
  clearTimeout(resting);
  resting = setTimeout(rest, REST_MS);
  showState();
  preview();
}

async function preview() {
  if (busy || !dirty) return;
  busy = true;
  while (dirty) {
    dirty = false;
    const asked = since, reads = id("arrows").checked;
    try {
      const answer = await post("view", { view: viewText(), moving: true, effort: id("effort").value, read: reads });
      if (answer.status === 200) await show(new Uint8Array(await answer.arrayBuffer()));
      stats.waits.push(performance.now() - asked);
      stats.frames.push(performance.now());
      showPace();
      trouble(null);
    } catch (error) { trouble(error); }
  }
  busy = false;
}

async function rest() {
  if (busy) { resting = setTimeout(rest, 30); return; }
  history.replaceState(null, "", `${location.pathname}${location.search}#${viewText()}`);
  const mine = whole = new AbortController();
  try {
    const answer = await post("view", { view: viewText(), moving: false, read: id("arrows").checked }, mine.signal);
    if (answer.status !== 200) return;
    const content = new Uint8Array(await answer.arrayBuffer());
    if (mine.signal.aborted) return;
    await show(content, mine.signal);
    trouble(null);
  } catch (error) {
    if (error.name !== "AbortError") trouble(error);
  } finally {
    if (whole === mine) whole = null;
  }
}

async function show(bytes, signal) {
  const { facts, contents } = unpack(bytes);
  const images = await Promise.all(contents.map(content => createImageBitmap(new Blob([content]))));
  if (signal && signal.aborted) return;
  if (drawn) drawn.images.forEach(image => image.close());
  drawn = { facts, images };
  paint();
  if (facts.command) id("command").textContent = facts.command;
  stats.shown = facts.view;
  document.body.dataset.shown = facts.view;
  document.body.dataset.whole = String(Boolean(facts.command));
}

function paint() {
  if (!drawn) return;
  const { facts, images } = drawn;
  panels.forEach((panel, i) => {
    const { canvas, note } = panel;
    const side = Math.max(64, Math.round(canvas.clientWidth * devicePixelRatio));
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(images[i], 0, 0, side, side);
    const arrows = id("arrows").checked, eyes = facts.eyes[i];
    if (eyes || facts.command) Object.assign(panel, { eyes, read: performance.now() });  // else the last reading stays
    const fresh = performance.now() - panel.read < FRESH_MS;
    if (arrows) {
      arrow(context, facts.face, "#0b6bcb", side);
      context.globalAlpha = fresh ? 1 : 0.35;
      if (panel.eyes) arrow(context, panel.eyes, "#f25c05", side);
      context.globalAlpha = 1;
    }
    const seen = arrows && fresh && panel.eyes;
    note.textContent = seen ? `eyes ${signed(degrees(seen[0]))} ${signed(degrees(seen[1]))}` : `${facts.sides[i]} px`;
  });
  placePad();
}

/** An arrow from the middle along yaw and pitch as the camera sees them: x right, y down. */
function arrow(context, [yaw, pitch], colour, side) {
  const reach = side * 0.36, thick = side / 80, x = side / 2, y = side / 2;
  const dx = -reach * Math.sin(yaw) * Math.cos(pitch), dy = -reach * Math.sin(pitch);
  const length = Math.hypot(dx, dy), tip = Math.min(length, 4.5 * thick), back = Math.max(0, length - 0.7 * tip);
  const [ux, uy] = length > 0 ? [dx / length, dy / length] : [0, 0];
  context.lineJoin = context.lineCap = "round";
  for (const [paint, grow] of [["#fff", 1.5 * devicePixelRatio], [colour, 0]]) {
    context.strokeStyle = context.fillStyle = paint;
    context.lineWidth = thick + 2 * grow;
    context.beginPath(); context.arc(x, y, thick + grow, 0, 7); context.fill();
    context.beginPath(); context.moveTo(x, y); context.lineTo(x + ux * back, y + uy * back); context.stroke();
    context.lineWidth = 2 * grow || 0.01;
    context.beginPath();
    context.moveTo(x + dx, y + dy);
    context.lineTo(x + dx - tip * (ux - 0.6 * uy), y + dy - tip * (uy + 0.6 * ux));
    context.lineTo(x + dx - tip * (ux + 0.6 * uy), y + dy - tip * (uy - 0.6 * ux));
    context.closePath(); context.fill(); context.stroke();
  }
}

/* ---- what the controls show ---- */

const FORMS = { psi: v => v.toFixed(2), blend: v => `${Math.round(v * 100)} %`, yaw: v => signed(degrees(v)),
                pitch: v => signed(-degrees(v)), fov: v => `${v.toFixed(1)}\u00b0` };

function showState() {
  for (const name of ["seed", "other"]) if (document.activeElement !== id(name)) id(name).value = state[name];
  for (const [name, form] of Object.entries(FORMS)) {
    id(name).value = state[name];
    id(name).parentElement.querySelector("output").textContent = form(state[name]);
  }
  for (const name of ["rows", "show"]) choose(name, state[name]);
  choose("aim", aimOf(state.gaze));
  const far = Math.abs(state.yaw) > about.common[0] + 1e-9 || Math.abs(state.pitch) > about.common[1] + 1e-9;
  id("panels").classList.toggle("far", far);
  id("panels").classList.toggle("pointed", aimOf(state.gaze) === "pointer");
  id("beyond").hidden = !far;
  id("camera").textContent = `yaw ${signed(degrees(state.yaw))}, pitch ${signed(-degrees(state.pitch))}, view ${state.fov.toFixed(1)}\u00b0`;
  placePad();
}

function choose(name, value) {
  for (const radio of document.querySelectorAll(`input[name=${name}]`)) radio.checked = radio.value === value;
}

const aimOf = gaze => gaze === "face" || gaze === "camera" ? gaze : gaze.startsWith("at:") ? "pointer" : "hand";

/** The dot of the pad stands where the eyes look, whoever says so. */
function placePad() {
  const gaze = drawn && drawn.facts.gaze;
  if (!gaze) return;
  const [yaw, pitch] = aimOf(state.gaze) === "hand" ? state.gaze.split(",").map(Number) : gaze;
  const dot = id("pad").firstElementChild;
  dot.style.left = `${50 - 50 * clamp(yaw / PAD_DEG[0], -1, 1)}%`;
  dot.style.top = `${50 - 50 * clamp(pitch / PAD_DEG[1], -1, 1)}%`;
  id("pad").setAttribute("aria-description", `${Math.round(yaw)} degrees to the left, ${Math.round(pitch)} up`);
}

function showPace() {
  const now = performance.now();
  stats.frames = stats.frames.filter(time => now - time < 2000);
  stats.waits = stats.waits.slice(-400);
  const span = stats.frames.length > 1 ? stats.frames.at(-1) - stats.frames[0] : 0;
  const wait = stats.waits.slice(-15).sort((a, b) => a - b)[Math.floor(Math.min(15, stats.waits.length) / 2)];
  id("pace").textContent = span && wait !== undefined
    ? `${(1000 * (stats.frames.length - 1) / span).toFixed(0)} frames/s, ${wait.toFixed(0)} ms` : "";
}

/* ---- hands ---- */

function turnBy(yaw, pitch) {
  state.yaw = clamp(state.yaw + yaw, -1.2, 1.2);
  state.pitch = clamp(state.pitch + pitch, -0.8, 0.8);
  changed();
}

function zoomBy(factor) {
  state.fov = clamp(state.fov * factor, 8, 40);
  changed();
}

const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0] % 100000;

function front() {
  Object.assign(state, { yaw: 0, pitch: 0, fov: about.defaults.fov });
  changed();
}

function anotherHead() {
  state.seed = randomSeed();
  changed();
}

function listenToStage() {
  const stage = id("panels"), down = new Map();
  const side = () => panels[0].canvas.clientWidth;
  stage.addEventListener("pointerdown", event => {
    stopTurning();
    down.set(event.pointerId, [event.clientX, event.clientY]);
    stage.setPointerCapture(event.pointerId);
    stage.focus({ preventScroll: true });
  });
  stage.addEventListener("pointermove", event => {
    if (aimOf(state.gaze) === "pointer") lookAt(event);
    const before = down.get(event.pointerId);
    if (!before) return;
    const here = [event.clientX, event.clientY];
    if (down.size === 2) {  // two fingers zoom
      const other = [...down].find(([key]) => key !== event.pointerId)[1];
      zoomBy(Math.hypot(before[0] - other[0], before[1] - other[1]) / Math.hypot(here[0] - other[0], here[1] - other[1]));
    } else {
      turnBy(-(here[0] - before[0]) / side() * TURN_RAD, -(here[1] - before[1]) / side() * TURN_RAD);
    }
    down.set(event.pointerId, here);
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, event => down.delete(event.pointerId));
  stage.addEventListener("wheel", event => {
    event.preventDefault();
    zoomBy(Math.exp(clamp(event.deltaY, -200, 200) / 900));
  }, { passive: false });
  stage.addEventListener("dblclick", front);
  stage.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 0.15 : 0.05;
    const act = { ArrowLeft: () => turnBy(step, 0), ArrowRight: () => turnBy(-step, 0), ArrowUp: () => turnBy(0, step),
                  ArrowDown: () => turnBy(0, -step), "+": () => zoomBy(0.95), "=": () => zoomBy(0.95),
                  "-": () => zoomBy(1 / 0.95), 0: front, r: anotherHead, R: anotherHead }[event.key];
    if (!act) return;
    event.preventDefault();
    stopTurning();
    act();
  });
}

function lookAt(event) {
  const over = panels.find(({ canvas }) => {
    const box = canvas.getBoundingClientRect();
    return event.clientX >= box.left && event.clientX <= box.right;
  }) || panels[0];
  const box = over.canvas.getBoundingClientRect();
  const part = (at, low, high) => clamp((at - low) / (high - low), -1, 2).toFixed(3);
  state.gaze = `at:${part(event.clientX, box.left, box.right)},${part(event.clientY, box.top, box.bottom)}`;
  changed();
}

function listenToPad() {
  const pad = id("pad");
  const set = (yaw, pitch) => {
    state.gaze = `${+clamp(yaw, -PAD_DEG[0], PAD_DEG[0]).toFixed(1)},${+clamp(pitch, -PAD_DEG[1], PAD_DEG[1]).toFixed(1)}`;
    changed();
  };
  const point = event => {
    const box = pad.getBoundingClientRect();
    set((0.5 - (event.clientX - box.left) / box.width) * 2 * PAD_DEG[0], (0.5 - (event.clientY - box.top) / box.height) * 2 * PAD_DEG[1]);
  };
  pad.addEventListener("pointerdown", event => { pad.setPointerCapture(event.pointerId); point(event); });
  pad.addEventListener("pointermove", event => { if (pad.hasPointerCapture(event.pointerId)) point(event); });
  pad.addEventListener("keydown", event => {
    const move = { ArrowLeft: [2, 0], ArrowRight: [-2, 0], ArrowUp: [0, 2], ArrowDown: [0, -2] }[event.key];
    if (!move) return;
    event.preventDefault();
    const [yaw, pitch] = aimOf(state.gaze) === "hand" ? state.gaze.split(",").map(Number) : (drawn && drawn.facts.gaze) || [0, 0];
    set(yaw + move[0], pitch + move[1]);
  });
}

let turning = 0;

/** Once round the ellipse of gen_videos.py in four seconds, again and again. */
function turn() {
  if (turning) return stopTurning();
  const begun = performance.now();
  id("turn").ariaPressed = "true";
  const step = now => {
    const angle = 2 * Math.PI * (now - begun) / 4000;
    state.yaw = 0.35 * Math.sin(angle);
    state.pitch = -0.05 + 0.25 * Math.cos(angle);
    changed();
    turning = requestAnimationFrame(step);
  };
  turning = requestAnimationFrame(step);
}

function stopTurning() {
  cancelAnimationFrame(turning);
  turning = 0;
  id("turn").ariaPressed = "false";
}

/* ---- recording and saving ---- */

let recording = 0;

function record() {
  if (recording) {
    clearInterval(recording);
    recording = 0;
  } else {
    pathTaken = [];
    recording = setInterval(() => {
      pathTaken.push([state.yaw, state.pitch, state.fov]);
      if (pathTaken.length >= 3600) record();
      showRecord();
    }, 1000 / about.fps);
  }
  showRecord();
}

function showRecord() {
  id("record").ariaPressed = String(Boolean(recording));
  id("recorded").textContent = pathTaken.length ? `${(pathTaken.length / about.fps).toFixed(1)} s` : "";
  id("save-film").disabled = id("save-cameras").disabled = Boolean(recording) || !pathTaken.length;
}

let stopSaving = null;

async function save(kind, name, more = {}) {
  if (stopSaving) stopSaving.abort();
  const mine = stopSaving = new AbortController();
  id("saving").hidden = false;
  id("done").removeAttribute("value");
  id("said").textContent = "";
  try {
    const answer = await post("save", { view: viewText(), kind, ...more }, mine.signal);
    const reader = answer.body.getReader();
    let bytes = new Uint8Array(), message;
    while (true) {
      const { done, value } = await reader.read();
      if (done) throw new Error("The server stopped in the middle of the file.");
      bytes = joined(bytes, value);
      while ((message = unpack(bytes))) {
        const { facts, contents, rest: left } = message;
        if (facts.error) throw new Error(facts.error);
        if (facts.type) return download(new Blob([contents[0]], { type: facts.type }), name, facts.film_command);
        id("done").value = facts.done / facts.of;
        bytes = left;
      }
    }
  } catch (error) {
    if (error.name !== "AbortError") trouble(error);
  } finally {
    if (stopSaving === mine) { stopSaving = null; id("saving").hidden = true; }
  }
}

function joined(first, second) {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

function download(blob, name, command) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  id("said").textContent = `${name}: ${(blob.size / 1024).toFixed(0)} KiB`;
  if (command) id("command").textContent = command;
  trouble(null);
}

async function copy(text, what) {
  await navigator.clipboard.writeText(text);
  id("said").textContent = `${what} copied`;
}

/* ---- beginning ---- */

function build() {
  for (const { name } of about.networks) {
    const figure = document.createElement("figure"), canvas = document.createElement("canvas");
    const caption = document.createElement("figcaption"), title = document.createElement("span"), note = document.createElement("span");
    title.textContent = title.title = name.split("/").pop();
    caption.append(title, note);
    figure.append(canvas, caption);
    id("panels").append(figure);
    panels.push({ canvas, note });
  }
  document.title = `${about.networks.map(n => n.name.split("/").pop()).join(", ")} \u2013 viewer`;
  for (const name of ["yaw", "pitch"]) {
    id(name).style.setProperty("--share", `${100 * about.common[name === "yaw" ? 0 : 1] / id(name).max}%`);
  }
  const words = { auto: "automatic", full: "whole picture", raw: "raw" };
  for (const name of ["auto", ...about.efforts]) id("effort").append(new Option(words[name] || `${name.replace("raw-", "raw, ")} rays`, name));
  for (const side of about.shapes) id("resolution").append(new Option(`${side}\u00b3`, side, side === 128, side === 128));
  id("eyes").hidden = !about.networks.some(n => n.aimed);
  id("read-key").hidden = !about.reads.some(Boolean);
  id("save-glb").disabled = id("resolution").disabled = !about.networks.some(n => n.solid);
  layOut();
  addEventListener("resize", layOut);
}

/** As many columns as make the pictures largest in the window. */
function layOut() {
  const box = id("panels"), count = panels.length, narrow = innerWidth <= 820;
  const height = narrow ? innerHeight * (count > 1 ? 0.34 : 0.48) : innerHeight - 130;
  let best = [0, 1];
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const size = Math.min((box.clientWidth - 12 * (columns - 1)) / columns, height / rows - 32);
    if (size > best[0]) best = [size, columns];
  }
  const side = Math.max(96, Math.floor(best[0]));
  box.style.gridTemplateColumns = `repeat(${best[1]}, ${side}px)`;
  id("stage").style.setProperty("--wide", `${best[1] * side + 12 * (best[1] - 1)}px`);
  paint();
}

function listen() {
  listenToStage();
  listenToPad();
  for (const name of ["psi", "blend", "yaw", "pitch", "fov"]) {
    id(name).addEventListener("input", () => { stopTurning(); state[name] = Number(id(name).value); changed(); });
  }
  for (const name of ["seed", "other"]) {
    id(name).addEventListener("input", () => {
      const value = Number(id(name).value);
      if (id(name).value === "" || !Number.isInteger(value) || value < 0 || value > 4294967295) return;
      state[name] = value;
      changed();
    });
    id(name).addEventListener("blur", showState);
  }
  for (const name of ["rows", "show"]) id(name).addEventListener("change", event => { state[name] = event.target.value; changed(); });
  id("aim").addEventListener("change", event => {
    const at = (drawn && drawn.facts.gaze || [0, 0]).map(x => +clamp(x, -60, 60).toFixed(1));
    state.gaze = { face: "face", camera: "camera", pointer: "at:0.5,0.5", hand: at.join(",") }[event.target.value];
    changed();
  });
  id("mix").addEventListener("toggle", () => {
    const before = state.blend;
    if (id("mix").open && !before) { state.blend = 0.5; if (state.other === state.seed) state.other = randomSeed(); }
    if (!id("mix").open) state.blend = 0;
    if (state.blend !== before) changed();
  });
  id("random").addEventListener("click", anotherHead);
  id("random-other").addEventListener("click", () => { state.other = randomSeed(); changed(); });
  id("front").addEventListener("click", () => { stopTurning(); front(); });
  id("turn").addEventListener("click", turn);
  id("arrows").addEventListener("change", changed);
  id("effort").addEventListener("change", changed);
  id("save-png").addEventListener("click", () => save("png", `seed${state.seed}.png`));
  id("save-glb").addEventListener("click", () => {
    const network = about.networks.findIndex(n => n.solid);
    save("glb", `seed${state.seed}.glb`, { network, resolution: Number(id("resolution").value) });
  });
  id("record").addEventListener("click", record);
  id("save-film").addEventListener("click", () => save("film", `seed${state.seed}.mp4`, { path: pathTaken }));
  id("save-cameras").addEventListener("click", () => save("cameras", "cameras.json", { path: pathTaken }));
  id("cancel").addEventListener("click", () => stopSaving && stopSaving.abort());
  id("copy-link").addEventListener("click", () => copy(`${location.href.split("#")[0]}#${viewText()}`, "Link"));
  id("copy-command").addEventListener("click", () => copy(id("command").textContent, "Command"));
  id("controls").addEventListener("submit", event => event.preventDefault());
  addEventListener("hashchange", () => { readAddress(); id("mix").open = state.blend > 0; changed(); });
}

async function begin() {
  try {
    about = await (await post("about", {})).json();
    readAddress();
    build();
    id("mix").open = state.blend > 0;
    listen();
    showState();
    await rest();
    document.body.dataset.ready = "yes";
  } catch (error) { trouble(error); }
}

begin();
