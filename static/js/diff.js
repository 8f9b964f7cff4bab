// The word diff of two texts, compared in a worker of its own, which is started with the first pair. The page names the
// worker and its library on an element with data-diff-worker and data-diff-library.
(() => {
  "use strict";
  const Redress = (window.Redress ??= {});
  let worker = null;
  let last = 0;
  const waiting = new Map();

  // {text, rewrite} -> {parts, share, long}; parts is null where the texts are too different to compare.
  Redress.wordDiff = (texts) => {
    if (!worker) {
      const { diffWorker, diffLibrary } = document.querySelector("[data-diff-worker]").dataset;
      worker = new Worker(diffWorker);
      worker.postMessage({ library: new URL(diffLibrary, location.href).href });
      worker.onmessage = ({ data }) => { waiting.get(data.id)?.(data); waiting.delete(data.id); };
    }
    return new Promise((resolve) => {
      const id = (last += 1);
      waiting.set(id, resolve);
      worker.postMessage({ id, ...texts });
    });
  };

  Redress.diffNodes = (parts) => parts.map((part) => {
    if (!part.added && !part.removed) return document.createTextNode(part.value);
    const element = document.createElement(part.added ? "ins" : "del");
    element.textContent = part.value;
    return element;
  });
})();
