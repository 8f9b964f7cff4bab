// Small things for people's wellbeing: hiding the texts, a pause that stops the clock, when to suggest one, the time left
// of a pause, and uncovering a text.
(() => {
  "use strict";
  const Redress = (window.Redress ??= {});
  const { store, keys, say } = Redress; // absent where a page has no keys
  const $ = (id) => document.getElementById(id);
  const GOING = "Going on";
  const SUGGEST_AFTER = { minutes: 25, texts: 30 }; // of work since the last pause
  const AWAY = 10 * 60; // seconds without work that are a pause by themselves
  const SHORTEST = 60; // seconds of a pause from which it counts as one

  keys?.add({
    section: GOING, keys: ["p"], repeat: false, help: "take a pause: nothing is counted, and the texts are hidden",
    run: () => { const button = $("pause"); if (!button) return false; button.click(); return true; },
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-uncover]");
    if (!button) return;
    const blurred = document.body.classList.toggle("blurred");
    button.textContent = blurred ? "Show the text" : "Hide the text";
  });

  // Hiding the texts of a working page. Where the project says so each text starts hidden, whatever was chosen for the
  // one before. What cannot be seen is not read out either, until it is shown.

  const startsBlurred = () => "startsBlurred" in document.body.dataset;

  function showBlur(blurred) {
    document.body.classList.toggle("blurred", blurred);
    for (const part of document.querySelectorAll("#task .blurrable")) {
      if (blurred) part.setAttribute("aria-hidden", "true"); else part.removeAttribute("aria-hidden");
      part.inert = blurred;
    }
    $("hide")?.setAttribute("aria-pressed", String(blurred));
    const hint = $("hidden-hint");
    if (hint) hint.hidden = !blurred;
  }

  Redress.blur = {
    start() { showBlur(startsBlurred() || store.get("redress-blur") === "yes"); },
    toggle() {
      const blurred = !document.body.classList.contains("blurred");
      if (!startsBlurred()) store.set("redress-blur", blurred ? "yes" : "no");
      showBlur(blurred);
      say(blurred ? "Hidden. The same key shows it again." : "Shown.");
    },
  };

  document.addEventListener("click", (event) => { if (event.target.closest("#hide")) Redress.blur.toggle(); });
  // The next text must not be seen for a moment before it is hidden.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id === "task" && startsBlurred()) document.body.classList.add("blurred");
  });

  // A pause on the page itself, in the dialog #paused, opened by whatever has data-pause.

  const dialog = () => $("paused");
  let since = null;

  Redress.pause = {
    get on() { return Boolean(dialog()?.open); },

    begin() {
      if (!dialog() || dialog().open) return;
      since = performance.now();
      document.body.classList.add("paused");
      dialog().showModal();
      countDown(dialog().querySelector(".timer"), Number(dialog().querySelector(".timer").dataset.for));
    },

    // A second of work, or a finished text: remembered in this browser, so that a reload does not begin anew.
    worked({ seconds = 0, texts = 0 }) {
      const now = Date.now();
      const so = read();
      const fresh = !so || now - so.at > AWAY * 1000 ? { seconds: 0, texts: 0 } : so;
      store.set("redress-worked", JSON.stringify({ seconds: fresh.seconds + seconds, texts: fresh.texts + texts, at: now }));
    },

    // Called where a new text begins, never in the middle of one.
    suggest() {
      const note = $("pause-note");
      if (!note) return;
      const so = read();
      const minutes = Math.floor((so?.seconds ?? 0) / 60);
      const due = so && Date.now() - so.at <= AWAY * 1000 && (minutes >= SUGGEST_AFTER.minutes || so.texts >= SUGGEST_AFTER.texts);
      note.querySelector("[data-pause-words]").textContent = due
        ? `You have read for ${minutes ? `${minutes} minutes` : "a while"} without a break (${so.texts} texts). A short one may do you good; everything waits for you.` : "";
      note.hidden = !due;
    },

    forget() { store.remove("redress-worked"); const note = $("pause-note"); if (note) note.hidden = true; },
  };

  function read() {
    try { return JSON.parse(store.get("redress-worked")); } catch { return null; }
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-pause]")) Redress.pause.begin();
    if (event.target.closest("[data-not-now]")) Redress.pause.forget();
  });
  document.addEventListener("DOMContentLoaded", () => {
    dialog()?.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "p" || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      dialog().close();
    });
    dialog()?.addEventListener("close", () => {
      document.body.classList.remove("paused");
      clearInterval(running);
      if (performance.now() - since >= SHORTEST * 1000) Redress.pause.forget();
      if (keys) keys.lastUsed = Date.now();
      say?.("You go on.");
    });
  });

  // The time left of a pause, in `timer`; when it is over, [data-over] says so once.

  let running = null;

  function countDown(timer, seconds) {
    const end = performance.now() + seconds * 1000;
    const over = timer.parentElement.querySelector("[data-over]");
    clearInterval(running);
    over.textContent = "";
    const show = () => {
      const left = Math.max(0, Math.round((end - performance.now()) / 1000));
      if (left) timer.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left`;
      else {
        clearInterval(running);
        timer.textContent = "The five minutes are over. Go on whenever you like.";
        over.textContent = timer.textContent;
      }
    };
    running = setInterval(show, 1000);
    show();
  }

  const timer = document.querySelector(".timer[data-seconds]");
  if (timer && Number(timer.dataset.seconds)) countDown(timer, Number(timer.dataset.seconds));
})();
