#!/usr/bin/env python3
"""The page of `trapeze report` in a browser without a window: that its charts are drawn, in light and dark, wide and
narrow; that mouse, keyboard and buttons do what they say; and that hostile names stay text.

usage: tests/integration/report_page_test.py TRAPEZE
"""

import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import ROOT, Checks, run  # noqa: E402

QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
         "--disable-sync", "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--enable-logging=stderr"]

# What the browser is asked to do once the page is drawn; what comes out is left in an attribute of the body.
PROBE = """
<script>
"use strict";
{
  const found = {}, svg = document.getElementById("timeline");
  const labels = () => [...svg.querySelectorAll("text")].map(text => text.textContent).join("|");
  const key = (name, more) => svg.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true, ...more}));
  const column = (table, index) => [...document.querySelectorAll(`#${table} tbody tr`)].map(row => row.cells[index].textContent);
  const layers = () => svg.querySelectorAll("path.layer").length;
  const area = () => [...svg.querySelectorAll("path.layer")].reduce((sum, path) => sum + path.getBBox().width * path.getBBox().height, 0);
  const mouse = (name, share) => {
    const box = svg.getBoundingClientRect();
    svg.dispatchEvent(new PointerEvent(name, {clientX: box.left + box.width * share, clientY: box.top + 40, button: 0, pointerId: 1, bubbles: true}));
  };
  svg.setPointerCapture = () => {};
  found.title = document.title;
  found.facts = document.getElementById("facts").innerText;
  found.note = document.getElementById("note").hidden ? "" : document.getElementById("note").textContent;
  found.kinds = column("kinds", 0).map(text => text.trim());
  found.counts = column("kinds", 1);
  found.places = column("hottest", 0);
  found.devices = column("hottest", 1);
  found.vcpus = column("vcpus", 0);
  found.layers = layers();
  found.area = area();
  found.columns = document.querySelectorAll("#costs rect.column").length;
  found.fits = document.documentElement.scrollWidth <= window.innerWidth;
  found.small = [...document.querySelectorAll("svg text")].filter(text => text.getBoundingClientRect().height < 8).length;
  found.whole = labels();
  svg.focus();
  found.focused = document.activeElement === svg;
  key("ArrowRight"); key("ArrowRight");
  found.readout = document.getElementById("readout").textContent;
  key("+"); key("+"); key("+");
  found.zoomed = labels();
  key("Escape");
  found.unzoomed = labels();
  mouse("pointermove", .5);
  found.hover = document.getElementById("readout").textContent;
  mouse("pointerdown", .4); mouse("pointermove", .6); mouse("pointerup", .6);
  found.dragged = labels();
  mouse("pointerleave", .6);
  key("Escape");
  document.querySelector("#legend button").click();
  found.fewer = layers();
  document.querySelector("#legend button").click();
  document.querySelectorAll("#modes button.mode")[1].click();
  found.time = labels();
  const sort = document.querySelector('#hottest [data-key="count"]');
  sort.click();
  found.sorted = column("hottest", 3);
  document.querySelector('#hottest [data-key="count"]').click();
  found.reversed = column("hottest", 3);
  found.hacked = window.hacked === true || document.querySelectorAll("img, b").length > 0;
  document.body.dataset.found = JSON.stringify(found);
}
</script>
"""


class Browser:
    def __init__(self, program, directory):
        self.program, self.directory = program, Path(directory)

    def run(self, page, width, *options):
        """The document as it is in the end, and what the page's scripts complained of."""
        with tempfile.TemporaryDirectory(dir=self.directory) as data:
            result = run([self.program, *QUIET, f"--user-data-dir={data}", f"--window-size={width},900", *options,
                          page.as_uri()])
        complaints = [line for line in result.errors.splitlines() if "CONSOLE" in line]
        return result.output, complaints

    def probe(self, page, width):
        probed = page.with_name("probed.html")
        probed.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"), encoding="utf-8")
        document, complaints = self.run(probed, width, "--dump-dom")
        found = re.search(r'data-found="([^"]*)"', document)
        text = found[1] if found else "{}"
        for name, character in (("&quot;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", "\u00a0"), ("&amp;", "&")):
            text = text.replace(name, character)
        return json.loads(text), complaints

    def picture(self, page, width, *options):
        path = page.with_name("picture.png")
        path.unlink(missing_ok=True)
        self.run(page, width, f"--screenshot={path}", *options)
        return colours(path.read_bytes()) if path.exists() else {}


def unfilter(kind, line, above, size):
    """One line of a PNG: "Filter Algorithms" of its specification."""
    for i in range(len(line)):
        left = line[i - size] if i >= size else 0
        corner = above[i - size] if i >= size else 0
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = above[i]
        elif kind == 3:
            guess = (left + above[i]) // 2
        elif kind == 4:
            guess = min((left, above[i], corner), key=lambda value: abs(left + above[i] - corner - value))
        else:
            return
        line[i] = (line[i] + guess) & 255


def colours(png):
    """How many pixels of each colour, as #rrggbb, there are in a PNG of 8 bits a channel without interlace."""
    at, packed = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at:at + 8])
        body = png[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, _, colour = struct.unpack(">IIBB", body[:10])
        if kind == b"IDAT":
            packed += body
        at += 12 + length
    data, size, counts = zlib.decompress(packed), {2: 3, 6: 4}[colour], {}
    above = bytearray(width * size)
    for row in range(height):
        start = row * (width * size + 1)
        line = bytearray(data[start + 1:start + 1 + width * size])
        unfilter(data[start], line, above, size)
        above = line
        for i in range(0, len(line), size):
            pixel = bytes(line[i:i + 3])
            counts[pixel] = counts.get(pixel, 0) + 1
    return {"#" + pixel.hex(): count for pixel, count in counts.items()}


# ---- traces ----

def boot_trace(trapeze, directory):
    """A boot of Debian's kernel with two vCPUs where there is one, else a little guest: 10 is power off in its code."""
    trace = directory / "boot.trace"
    kernel, initrd = (run([ROOT / "scripts" / name]).output.strip().splitlines()[-1:]
                      for name in ("get-kernel", "make-initramfs"))
    if kernel and initrd:
        run([trapeze, "run", "--engine", "soft", "--kernel", kernel[0], "--initrd", initrd[0], "--console", "none",
             "--cpus", "2", "--append", "console=ttyS0 quiet panic=-1 trapeze.exit", "--timeout", "100",
             "--trace", trace])
    return trace


def number(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def checksum(data, start=0x74726170657A6531):
    total = start
    for at in range(0, len(data), 8):
        word = int.from_bytes(data[at:at + 8], "little")
        total = (total ^ word) * 0x9FB21C651E98DF25 & (1 << 64) - 1
        total ^= total >> 32
    return total


def hostile_trace(directory):
    """Names that would do something if they were taken for more than text. It has no end, either."""
    evil = b"</script><script>hacked=true</script><b>"
    names = bytes([len(evil)]) + evil                                                   # the engine
    names += bytes([1, 0, len(evil)]) + evil                                            # the kind
    names += bytes([1]) + struct.pack("<QQ", 0, 100) + bytes([len(evil)]) + evil        # the device
    fields = [b"TRPZEXIT", 1, 64 + len(names), 0, 10 ** 9, 0, 0, 1, 1, 1, 0]
    fields[3] = checksum(names, checksum(struct.pack("<8sIIQQQQIIII", *fields)))
    records = b"".join(bytes([0, 0x12]) + number(900) + number(i) + number(i % 7) for i in range(2000))
    chunk = [0x4B4E4843, 1, 0, len(records), 2000, 0, 0, 0]
    chunk[7] = checksum(records, checksum(struct.pack("<IHHIIQQQ", *chunk)))
    trace = directory / "hostile.trace"
    trace.write_bytes(struct.pack("<8sIIQQQQIIII", *fields) + names + struct.pack("<IHHIIQQQ", *chunk) + records)
    return trace


def make_page(check, trapeze, trace):
    page = trace.with_suffix(".html")
    result = run([trapeze, "report", trace, "-o", page])
    check.that(result.status == 0 and page.exists(), f"a page of {trace.name}", result)
    check.that(page.stat().st_size < 1 << 20, "the page is small", page.stat().st_size)
    return page


# ---- tests ----

def kinds_of(trapeze, trace):
    """What `report --text` has in its first table."""
    lines = run([trapeze, "report", trace, "--text"]).output.split("\n\n")[1].splitlines()[1:]
    return {line[:20].strip(): int(line[20:31]) for line in lines}


def test_boot(check, browser, trapeze, trace, page):
    found, complaints = browser.probe(page, 1200)
    kinds = kinds_of(trapeze, trace)
    check.equal(complaints, [], "the page's scripts complain of nothing")
    if not check.that(found, "the page is drawn"):
        return
    shown = dict(zip(found["kinds"], (int(count.replace(",", "")) for count in found["counts"])))
    check.equal(shown, kinds, "the kinds of exits and their counts, as the text has them")
    check.that(found["layers"] == min(len(kinds), 12) and found["area"] > 1000, "the timeline has each kind", found)
    check.that(found["columns"] >= len(kinds), "the histograms have columns", found["columns"])
    check.that(len(found["places"]) > 20 and "com1" in found["devices"], "the hottest addresses", found["places"])
    check.equal(found["vcpus"], ["0", "1"], "a row for each vCPU")
    check.equal(found["note"], "", "a trace that is whole has no note")
    check.contains(found["facts"], "soft", "the engine")
    check.that(found["focused"] and re.search(r"[mµn]?s – .*: .", found["readout"]), "the keyboard reads bins", found["readout"])
    check.that(found["zoomed"] != found["whole"] == found["unzoomed"], "+ zooms, Escape shows all", found)
    check.that(found["hover"] and found["hover"] != found["readout"], "the mouse reads bins", found["hover"])
    check.that(found["dragged"] not in (found["whole"], found["zoomed"]), "dragging zooms", found["dragged"])
    check.equal(found["fewer"], found["layers"] - 1, "the legend hides a kind")
    check.contains(found["time"], "%", "time instead of number")
    counts = [int(text.replace(",", "")) for text in found["sorted"]]
    check.equal(counts, sorted(counts, reverse=True), "a table sorts")
    check.equal([int(text.replace(",", "")) for text in found["reversed"]], sorted(counts), "and the other way round")
    for width in (1200, 500):
        found = found if width == 1200 else browser.probe(page, width)[0]
        check.that(found.get("fits"), f"nothing sticks out of {width} pixels")
        check.equal(found.get("small"), 0, f"no tiny letters at {width} pixels")


def test_pictures(check, browser, page):
    """The colours of the two commonest kinds and of the ground are really on the screen."""
    for scheme, option, expected in (("light", "1", ("#ffffff", "#2f6fdb", "#d9622b")),
                                     ("dark", "0", ("#14171c", "#6aa1ff", "#ff9560"))):
        picture = browser.picture(page, 800, f"--blink-settings=preferredColorScheme={option}")
        for colour in expected:
            check.that(picture.get(colour, 0) > 100, f"{scheme}: {colour} is on the screen", sorted(
                picture, key=picture.get)[-8:])


def test_hostile(check, browser, trapeze, directory):
    page = make_page(check, trapeze, hostile_trace(directory))
    found, complaints = browser.probe(page, 1200)
    check.equal(complaints, [], "hostile names: no complaints")
    check.equal(found.get("hacked"), False, "hostile names run nothing and make no elements")
    check.contains("".join(found.get("kinds", [])), "</script><script>", "hostile names are shown as they are")
    check.contains(found.get("note", ""), "cut off", "a trace that is not whole says so")


def main():
    trapeze = Path(sys.argv[1]).resolve()
    check = Checks()
    program = shutil.which("chromium")
    if program is None:
        check.skip("no chromium: apt-get install chromium")
        check.finish()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        browser = Browser(program, directory)
        test_hostile(check, browser, trapeze, directory)
        trace = boot_trace(trapeze, directory)
        if trace.exists():
            page = make_page(check, trapeze, trace)
            test_boot(check, browser, trapeze, trace, page)
            test_pictures(check, browser, page)
        else:
            check.skip("no kernel to boot: scripts/get-kernel")
    check.finish()


if __name__ == "__main__":
    main()
