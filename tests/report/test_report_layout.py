"""On a phone nothing of the page is wider than the screen, and no word of a chart is cut off."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: report)")
pytest.importorskip("jinja2", reason="Jinja2 is not installed (extra: report)")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# The page stands in a frame as wide as the screen (a browser's own window cannot be made as narrow).
FRAME = """<!DOCTYPE html><body><iframe style="border:0;width:{width}px;height:800px" srcdoc="{page}"></iframe><script>
addEventListener("load", () => {{
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement
  const cut = []
  for (const svg of page.querySelectorAll("svg")) {{
    const box = svg.getBoundingClientRect()
    for (const text of svg.querySelectorAll("text")) {{
      const own = text.getBoundingClientRect()
      const beyond = own.left < box.left - 1 || own.right > box.right + 1
      if (beyond || own.top < box.top - 1 || own.bottom > box.bottom + 1) cut.push(text.textContent)
    }}
  }}
  const tables = page.querySelectorAll("table").length
  const found = {{width: root.scrollWidth, screen: root.clientWidth, tables, cut}}
  document.body.textContent = "measured" + JSON.stringify(found) + "end"
}})
</script></body>"""


@pytest.fixture(scope="module")
def browser():
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    return found


def measured(browser, page, width, folder):
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width, page=html.escape(page)), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    command = [browser, *options, frame.as_uri()]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120, check=True)
    dom = html.unescape(run.stdout.decode("utf-8"))
    found = re.search(r"<body>measured(\{.*\})end", dom, re.DOTALL)
    assert found, "the browser measured nothing"
    return json.loads(found.group(1))


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_nothing_is_wider_than_the_screen_and_no_word_is_cut_off(browser, page, width, tmp_path):
    found = measured(browser, page, width, tmp_path)
    assert found["tables"] > 15
    assert found["width"] <= found["screen"] <= width
    assert found["cut"] == []


def test_something_too_wide_and_a_word_cut_off_would_be_noticed(browser, page, tmp_path):
    wide = page.replace("</main>", '<div style="width:500px">wide</div></main>')
    cut = re.sub(r'(<svg [^>]*?)viewBox="0 0 [\d.]+', r'\1viewBox="0 0 100', wide, count=1)
    assert cut != wide
    found = measured(browser, cut, 390, tmp_path)
    assert found["width"] > 500
    assert found["cut"] != []
