// Copies tokens and identifiers, clears them when you leave the page, and adds local times.
"use strict";

const root = document.documentElement;
root.classList.add("js");

const copyBySelection = (source) => {
  const selection = getSelection();
  const range = document.createRange();
  range.selectNodeContents(source);
  selection.removeAllRanges();
  selection.addRange(range);
  return document.execCommand("copy");
};

const copy = async (source) => {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    // The clipboard API exists only in secure contexts.
    return copyBySelection(source);
  }
};

for (const button of document.querySelectorAll("button[data-copy]")) {
  const label = button.textContent;
  const status = document.getElementById("copy-status");
  button.addEventListener("click", async () => {
    // A button without the name of an element copies the one before it.
    const named = document.getElementById(button.dataset.copy);
    const done = await copy(named || button.previousElementSibling);
    button.textContent = done ? "Copied" : "Copy failed";
    button.classList.toggle("copied", done);
    if (status) status.textContent = done ? "Copied to clipboard" : "Copy failed. Select the text and copy it yourself.";
    setTimeout(() => {
      button.textContent = label;
      button.classList.remove("copied");
    }, 2500);
  });
}

const local = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "long", year: "numeric",
  hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
});
for (const moment of document.querySelectorAll(".moment")) {
  const time = moment.querySelector("time");
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.getTime()) || local.resolvedOptions().timeZone === "UTC") continue;
  const text = `${local.format(at)} (your time)`;
  time.title += `\n${text}`;
  const shown = document.createElement("span");
  shown.textContent = text;
  moment.querySelector(".exact").append(shown);
}

// A rejected form is rendered at the URL it was posted to, which cannot be loaded with GET.
// Show the page's own URL instead, so that a reload works.
const { address } = document.getElementById("main").dataset;
if (address && address !== location.pathname) history.replaceState(null, "", address);

const revealed = document.querySelector("[data-revealed]");
if (revealed) {
  // After a reload, show the token's page instead of submitting the form again.
  history.replaceState(null, "", revealed.dataset.revealed);
  revealed.querySelector("button[data-copy]").focus();
  // The back/forward cache keeps pages in memory, in some browsers even with `no-store`.
  addEventListener("pagehide", () => {
    for (const secret of document.querySelectorAll("[data-secret]")) secret.textContent = "";
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}
