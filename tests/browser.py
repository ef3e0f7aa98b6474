"""Pages in headless Chromium: each in a frame of some width, what a script finds there handed back as JSON.

Chromium comes with the system (``apt-get install chromium``), axe-core, which looks for what keeps people from using a
page, with ``make browser``.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
AXE = ROOT / ".browser" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_VIRTUAL_MS = 60_000  # the page's own clock: hurried through, not waited for
_PROBE = """
const found = {};
const look = async (frame) => {
  const page = frame.contentWindow;
  page.eval(document.getElementById("axe").textContent);
  found[frame.id] = await page.eval("(async () => {" + document.getElementById("probe").textContent + "})()");
};
addEventListener("load", async () => {
  try { for (const frame of document.querySelectorAll("iframe")) await look(frame); }
  catch (error) { found.error = String(error); }
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(found);
  document.body.append(result);
});
"""


def look(
    pages: Mapping[str, tuple[str, int]], probe: str, folder: Path, dark: bool = False, axe: bool = False
) -> dict[str, Any]:
    """What ``probe``, the body of an async function, returns in each page. pages: name -> (HTML, width in px). axe: put
    axe-core into them first."""
    frames = "".join(
        f'<iframe id="{name}" style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(text)}"></iframe>'
        for name, (text, width) in pages.items()
    )
    scripts = {"axe": AXE.read_text(encoding="utf-8") if axe else "", "probe": probe}
    texts = "".join(f'<script type="text/plain" id="{name}">{text}</script>' for name, text in scripts.items())
    wrapper = folder / f"pages-{'dark' if dark else 'light'}.html"
    wrapper.write_text(f"<!doctype html><body>{frames}{texts}<script>{_PROBE}</script></body>", encoding="utf-8")
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--disable-background-networking", "--proxy-server=127.0.0.1:9"),  # nothing is asked of anybody
        f"--user-data-dir={folder / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--virtual-time-budget={_VIRTUAL_MS}",
        "--dump-dom",
        wrapper.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    told = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.S)
    assert told, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(html.unescape(told.group(1)))
    assert "error" not in found, found
    return found
