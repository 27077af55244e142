"""The page in headless Chromium, by keyboard and by mouse, in light, dark and narrow windows.

    python3 crates/serve/tests/page.py SERVER [--out FOLDER]

SERVER is the command that serves, such as "target/release/wheels serve". It needs Chromium and the package playwright.
Screenshots are written into FOLDER.
"""

import argparse
import re
import shutil
import subprocess
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

TEXT = "A fast and small web browser for the desktop."
QUIET = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"


def wait_for_answer(page):
    expect(page.locator("#status")).to_have_text(re.compile(r"^(Done|Not written)"), timeout=60_000)
    expect(page.locator("#status")).to_have_text(re.compile("^Done"))


def number(page, card, name):
    return int(re.match(r"\d+", page.locator(f"#{card} [data-is={name}]").inner_text()).group())


def check_writing(page):
    """Everything by keyboard: type, move the slider, write, stop."""
    page.keyboard.press("Tab")
    expect(page.locator("#prompt")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type(TEXT)
    page.keyboard.press("Tab")
    expect(page.get_by_role("slider", name="Help budget")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#budget-value")).to_have_text("40%")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_answer(page)
    helped, alone = (page.locator(f"#{card} .text").inner_text() for card in ("helped", "alone"))
    assert helped and alone and helped != alone, (helped, alone)
    tokens, teacher = number(page, "helped", "tokens"), number(page, "helped", "teacher")
    assert 0 < teacher <= -(-40 * tokens // 100), (teacher, tokens)
    assert number(page, "helped", "calls") == teacher
    assert page.locator("#helped .text mark").count() > 0
    assert number(page, "alone", "teacher") == 0 and page.locator("#alone .text mark").count() == 0


def check_errors(page):
    page.locator("#prompt").fill("word " * 2000)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#status")).to_have_text(re.compile("^Not written: .*tokens"), timeout=10_000)
    page.locator("#prompt").fill(TEXT)
    page.get_by_role("button", name="Write").click()
    wait_for_answer(page)


def check_labels(page):
    """Each control has a name for screen readers, and nothing is wider than the window."""
    for role, name in [("textbox", "Your text"), ("slider", "Help budget"), ("button", "Write"), ("button", "Stop")]:
        expect(page.get_by_role(role, name=name)).to_be_visible()
    assert page.locator("#budget").get_attribute("aria-valuetext")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"


def check_contrast(page):
    """Text has a contrast of 4.5 or more (WCAG AA)."""
    low = page.evaluate("""() => {
        const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
            .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const ground = (e) => { for (; e; e = e.parentElement) {
            const color = rgb(getComputedStyle(e).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
        } };
        const low = [];
        for (const e of document.querySelectorAll("h1, h2, p, label, output, dt, dd, li, mark, button:enabled, textarea")) {
            if (!e.innerText?.trim() && e.tagName !== "TEXTAREA") continue;
            const [a, b] = [rgb(getComputedStyle(e).color), ground(e)].map(light).sort((x, y) => y - x);
            if ((a + 0.05) / (b + 0.05) < 4.5) low.push(e.tagName + " " + ((a + 0.05) / (b + 0.05)).toFixed(2));
        }
        return low;
    }""")
    assert not low, low


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--out", type=Path, default=Path("page"))
    flags = parser.parse_args()
    flags.out.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "no Chromium: install the package chromium"
    server = subprocess.Popen([*flags.server.split(), "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    try:
        url = re.search(r"http://\S+", next(line for line in server.stderr if "http://" in line)).group()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *QUIET.split()])
            for name, scheme, size in [
                ("light", "light", (1100, 800)),
                ("dark", "dark", (1100, 800)),
                ("narrow", "light", (360, 740)),
                ("narrow-dark", "dark", (360, 740)),
            ]:
                context = browser.new_context(color_scheme=scheme, viewport={"width": size[0], "height": size[1]})
                page = context.new_page()
                problems = []
                page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
                page.on("pageerror", lambda error: problems.append(str(error)))
                outside = []
                page.on("request", lambda request: outside.append(request.url) if not request.url.startswith((url, "data:")) else None)
                page.goto(url)
                expect(page).to_have_title("Training Wheels – wheels")
                page.screenshot(path=flags.out / f"{name}-empty.png", full_page=True)
                check_labels(page)
                check_writing(page)
                check_contrast(page)
                page.screenshot(path=flags.out / f"{name}.png", full_page=True)
                assert not problems, problems
                check_errors(page)
                assert not outside, outside
                context.close()
            browser.close()
    finally:
        server.terminate()
        server.wait(60)
    print("the page works")


if __name__ == "__main__":
    main()
