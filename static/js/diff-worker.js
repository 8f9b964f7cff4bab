// The word diff, away from the page, so that typing never waits for it. First message: the address of the library.
"use strict";

const TIMEOUT = 4000; // ms; texts that differ more are not compared
const CONTEXT = 160; // characters shown on each side of a long passage that is the same in both
const LONG = 20_000; // characters from which such passages are shortened

const count = (text) => (text.match(/[\p{L}\p{N}]+/gu) || []).length;
const shorten = (value) => (value.length > 3 * CONTEXT ? `${value.slice(0, CONTEXT)} … ${value.slice(-CONTEXT)}` : value);

self.onmessage = ({ data }) => {
  if (data.library) { importScripts(data.library); return; }
  const { id, text, rewrite } = data;
  const parts = Diff.diffWordsWithSpace(text, rewrite, { timeout: TIMEOUT });
  if (!parts) { postMessage({ id, parts: null }); return; }
  let kept = 0;
  let words = 0;
  for (const part of parts) {
    if (part.added) continue;
    const number = count(part.value);
    words += number;
    if (!part.removed) kept += number;
  }
  const long = text.length > LONG;
  const share = words ? Math.round((100 * kept) / words) : 0;
  postMessage({
    id, share: kept < words ? Math.min(share, 99) : share, long,
    parts: parts.map(({ value, added, removed }) => ({ value: long && !added && !removed ? shorten(value) : value, added, removed })),
  });
};
