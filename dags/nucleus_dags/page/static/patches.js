// The form that sends fields to annotation: no patches for a tool that doesn't show where one ends.

const [tool, patches] = [document.getElementById("tool"), document.getElementById("patches")];

function check() {
  const isWhole = tool.selectedOptions[0].dataset.whole !== undefined;
  patches.setCustomValidity(isWhole && patches.value ? patches.dataset.whole : "");
}

for (const field of [tool, patches]) field.addEventListener("input", check);
check();
