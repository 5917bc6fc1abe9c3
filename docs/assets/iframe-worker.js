// Browsers refuse workers to pages that are opened from a folder. There, a frame does the search.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const inside = `<script>
        self.importScripts = (...all) => Promise.all(all.map(one => new Promise((done, failed) => {
          const script = document.createElement("script");
          Object.assign(script, {src: one, async: false, onload: done, onerror: failed});
          document.head.append(script);
        })));
        self.postMessage = data => parent.dispatchEvent(new CustomEvent("${address}", {detail: data}));
      <\/script><script src="${address}"><\/script>`;
      this.frame = Object.assign(document.createElement("iframe"), {srcdoc: inside, hidden: true});
      this.ready = new Promise(done => { this.frame.onload = done; });
      window.addEventListener(address, told => {
        const event = new MessageEvent("message", {data: told.detail});
        this.dispatchEvent(event);
        this.onmessage?.(event);
      });
      document.body.append(this.frame);
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", {data})));
    }
    terminate() { this.frame.remove(); }
  };
}
