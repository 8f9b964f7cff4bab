// Small things for people's wellbeing: a key for the suggested pause, the time left of a pause, and uncovering a text.
(() => {
  "use strict";
  window.Redress?.keys?.add({
    section: "Going on", keys: ["p"], repeat: false, help: "take a pause where one is offered",
    run: () => { const button = document.getElementById("pause"); if (!button) return false; button.click(); return true; },
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-uncover]");
    if (!button) return;
    const blurred = document.body.classList.toggle("blurred");
    button.textContent = blurred ? "Show the text" : "Hide the text";
  });

  const timer = document.querySelector(".timer[data-seconds]");
  if (!timer || !Number(timer.dataset.seconds)) return;
  const end = performance.now() + Number(timer.dataset.seconds) * 1000;
  const show = () => {
    const left = Math.max(0, Math.round((end - performance.now()) / 1000));
    if (left) timer.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left`;
    else {
      clearInterval(running);
      timer.textContent = "The five minutes are over. Go on whenever you like.";
      document.querySelector("[data-over]").textContent = timer.textContent;
    }
  };
  const running = setInterval(show, 1000);
  show();
})();
