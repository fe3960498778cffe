// Copies what is shown once, and forgets it when its page is left.
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
