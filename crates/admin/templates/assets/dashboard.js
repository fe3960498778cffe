// Copies what is shown once, drops it when its page is left, and adds the reader's local time.
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
    // Outside of a secure context there is no clipboard API.
    return copyBySelection(source);
  }
};

for (const button of document.querySelectorAll("button[data-copy]")) {
  const label = button.textContent;
  const said = document.getElementById("copy-status");
  button.addEventListener("click", async () => {
    const done = await copy(document.getElementById(button.dataset.copy));
    button.textContent = done ? "Copied" : "Select and copy it";
    button.classList.toggle("copied", done);
    if (said) said.textContent = done ? "Copied to the clipboard" : "It could not be copied";
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
  const text = `${local.format(at)}, your time`;
  time.title += `\n${text}`;
  const shown = document.createElement("span");
  shown.textContent = text;
  moment.querySelector(".exact").append(shown);
}

// A form that was refused is answered under its own address, which shows nothing to a later visit.
const { address } = document.getElementById("main").dataset;
if (address && address !== location.pathname) history.replaceState(null, "", address);

const revealed = document.querySelector("[data-revealed]");
if (revealed) {
  // A reload shows the token's own page, and does not send the form again.
  history.replaceState(null, "", revealed.dataset.revealed);
  revealed.querySelector("button[data-copy]").focus();
  // Browsers keep pages in memory to go back to, some even those that must not be stored.
  addEventListener("pagehide", () => {
    for (const secret of document.querySelectorAll("[data-secret]")) secret.textContent = "";
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}
