// What the page does beyond its form: drop, paste, preview, the map over it, and answers without a new page.
// The server makes every sentence; nothing here knows a language or what an answer means.
"use strict";

document.documentElement.classList.add("js");

document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("form");
  const input = document.getElementById("file");
  const status = document.getElementById("status");
  const drop = form.querySelector(".drop");
  let running = null; // of the request under way
  let preview = null; // address of the image that is shown, in this browser alone

  // ---- choosing ----

  input.required = false; // a choice sends itself
  input.addEventListener("change", () => check(input.files[0]));

  document.addEventListener("paste", (event) => {
    const file = imageOf(event.clipboardData);
    if (file) {
      event.preventDefault();
      check(file);
    }
  });

  let depth = 0; // enter and leave come for every element on the way
  const lit = (change) => {
    depth = Math.max(0, change === null ? 0 : depth + change);
    drop.classList.toggle("over", depth > 0);
  };
  const hasFiles = (event) => event.dataTransfer && Array.from(event.dataTransfer.types).includes("Files");
  document.addEventListener("dragenter", (event) => { if (hasFiles(event)) lit(1); });
  document.addEventListener("dragleave", (event) => { if (hasFiles(event)) lit(-1); });
  document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // anywhere on the page: a near miss would open the file instead
    lit(null);
    check(imageOf(event.dataTransfer) || event.dataTransfer.files[0]);
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    check(input.files[0]);
  });

  const byAddress = document.querySelector(".by-address");
  if (byAddress) {
    byAddress.addEventListener("submit", (event) => {
      event.preventDefault();
      send(new FormData(byAddress), null);
    });
  }

  // ---- asking ----

  function imageOf(transfer) {
    return Array.from((transfer && transfer.files) || []).find((file) => file.type.startsWith("image/"));
  }

  function check(file) {
    input.value = ""; // so that the same file can be chosen again
    if (!file) return;
    if (file.size > Number(form.dataset.mostBytes)) {
      if (running) running.abort();
      idle();
      show(cloned("too-large"), null);
      return;
    }
    const body = new FormData();
    body.append("image", file, "image"); // its name stays here
    send(body, file);
  }

  async function send(body, file) {
    if (running) running.abort();
    const request = (running = new AbortController());
    busy();
    let page = null;
    let came = false;
    try {
      const response = await fetch(form.action, {
        method: "POST", body, headers: { Accept: "text/html" }, credentials: "omit", signal: request.signal,
      });
      came = true;
      page = new DOMParser().parseFromString(await response.text(), "text/html");
    } catch (error) {
      if (request.signal.aborted) return; // another image took its place
    }
    if (running !== request) return;
    idle();
    show(page && page.getElementById("verdict") ? page : cloned(came ? "failed" : "unreachable"), file);
  }

  function cloned(name) {
    const page = document.implementation.createHTMLDocument("");
    page.body.append(page.importNode(document.getElementById(name).content, true));
    return page;
  }

  function busy() {
    form.setAttribute("aria-busy", "true");
    status.textContent = status.dataset.busy;
  }

  function idle() {
    running = null;
    form.removeAttribute("aria-busy");
    status.textContent = "";
  }

  // ---- showing ----

  function show(page, file) {
    for (const name of ["intro", "form-heading", "answer"]) {
      const fresh = page.getElementById(name);
      if (fresh) document.getElementById(name).replaceWith(document.importNode(fresh, true));
    }
    if (page.title) document.title = page.title;
    const figure = document.querySelector("#answer .picture");
    if (preview) URL.revokeObjectURL(preview);
    preview = null;
    if (figure && file) place(figure, file);
    const heading = document.getElementById("verdict");
    heading.focus({ preventScroll: true });
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    document.getElementById("answer").scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
  }

  // Puts the image under its map; where this browser cannot show the image, the map stays as it is.
  function place(figure, file) {
    const image = new Image();
    image.className = "preview";
    image.alt = figure.dataset.alt;
    preview = image.src = URL.createObjectURL(file);
    image.addEventListener("load", () => {
      const frame = figure.querySelector(".frame");
      const map = frame.querySelector(".map");
      frame.prepend(image);
      frame.classList.add("over-image");
      figure.hidden = false;
      if (!map) return;
      const width = Number(figure.dataset.width) || image.naturalWidth;
      const height = Number(figure.dataset.height) || image.naturalHeight;
      // cells are squares of whole pixels, and the last ones may reach beyond the image
      const columns = Number(map.getAttribute("width"));
      const rows = Number(map.getAttribute("height"));
      const cell = Math.ceil(Math.max(width / columns, height / rows));
      map.style.width = `${(100 * columns * cell) / width}%`;
      map.style.height = `${(100 * rows * cell) / height}%`;
      const toggle = figure.querySelector(".toggle");
      toggle.hidden = false;
      toggle.querySelector("input").addEventListener("change", (event) => { map.hidden = !event.target.checked; });
    });
  }
});
