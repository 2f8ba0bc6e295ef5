// Runs a showpiece's module in a page without a kernel: gives it the part of anywidget's model that it uses.
(() => {
  const el = document.currentScript.parentElement;
  const { module, state } = JSON.parse(el.querySelector('script[type="application/json"]').textContent);
  for (const [name, value] of Object.entries(state)) {
    if (value && value.base64 !== undefined) {
      state[name] = new DataView(Uint8Array.from(atob(value.base64), (c) => c.charCodeAt(0)).buffer);
    }
  }
  const model = { get: (name) => state[name] };
  // a Blob, because pages opened from a file may not import by address
  const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  import(address).then((loaded) => loaded.default.render({ model, el }));
})();
