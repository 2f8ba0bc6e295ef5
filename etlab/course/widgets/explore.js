// Sliders over frames that were drawn beforehand. Without JavaScript the first frame stands alone.
(() => {
  const root = document.currentScript.parentElement;
  const state = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const picture = root.querySelector("img");
  const controls = root.querySelector(".etlab-controls");
  const inputs = [...controls.querySelectorAll("input")];
  const outputs = [...controls.querySelectorAll("output")];
  state.pictures[state.pictures.indexOf(null)] = picture.src;

  const show = () => {
    let frame = 0; // frames are stored with the last slider changing fastest
    inputs.forEach((input, i) => {
      const text = state.texts[i][input.value];
      frame = frame * state.texts[i].length + Number(input.value);
      input.setAttribute("aria-valuetext", text);
      outputs[i].textContent = text;
    });
    picture.src = state.pictures[state.frames[frame]];
    picture.alt = state.alts[frame];
  };
  for (const input of inputs) {
    input.addEventListener("input", show);
    input.addEventListener("keydown", (event) => event.stopPropagation()); // JupyterLab takes the arrow keys otherwise
  }
  controls.hidden = false;
})();
