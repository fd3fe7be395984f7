"""A real Chromium, headless, and a server on loopback for it to visit."""

import contextlib
import functools
import shutil
import socket
import threading
import time
from importlib.resources import files

import pytest

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.contextmanager
def chromium():
    """Start Chromium, or skip the test with the reason why that cannot be done."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@functools.cache
def axe():
    """The script of axe-core, or skip the test."""
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def violations(page):
    """What axe has against a page by WCAG 2.1 A and AA and its own best practices: ids and the elements."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe())  # not by a script element, which the page's policy would refuse
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
    found = page.evaluate("rules => axe.run({runOnly: rules})", rules)
    return [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found["violations"]]


@contextlib.contextmanager
def serving(app, **options):
    """Serve an app by uvicorn in a thread; yields its address."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none", **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(30)
