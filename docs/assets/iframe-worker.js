/* Browsers start no worker from file://, and the site's search is one. Where the page is a file, a worker is a hidden
   frame that loads the same script and speaks the same messages. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.onmessage = null
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.ready = new Promise(resolve => {
        window.addEventListener("message", event => {
          if (event.source !== this.frame.contentWindow) return
          if (event.data === "a worker is here") return resolve()
          const heard = new MessageEvent("message", { data: event.data })
          this.dispatchEvent(heard)
          if (this.onmessage) this.onmessage(heard)
        })
      })
      const start = () => {
        document.body.appendChild(this.frame)
        const inside = this.frame.contentDocument
        inside.open()
        inside.write(`<!doctype html><html><body><script>
          var postMessage = data => parent.postMessage(data, "*")
          var importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((done, failed) => {
            const script = document.createElement("script")
            script.src = url
            script.onload = done
            script.onerror = failed
            document.body.appendChild(script)
          })), Promise.resolve())
        </script><script src="${url}"></script><script>postMessage("a worker is here")</script></body></html>`)
        inside.close()
      }
      document.body ? start() : window.addEventListener("DOMContentLoaded", start)
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {
      this.frame.remove()
    }
  }
}
