"""A headless Chromium, spoken to over its DevTools protocol, and a folder served to it."""

import asyncio
import contextlib
import functools
import http.server
import json
import shutil
import subprocess
import threading
import urllib.request
from pathlib import Path

from tornado.websocket import websocket_connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
OPTIONS += ("--disable-background-networking", "--remote-debugging-port=0")


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # joined at the end, so that no socket is left


class _Quiet(http.server.SimpleHTTPRequestHandler):
    timeout = 5

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    """The address of a server of the folder, on this machine alone."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class Tab:
    """One page of a browser. Its answers come in the order of what is asked."""

    def __init__(self, socket):
        self.socket, self.number, self.events = socket, 0, []

    async def ask(self, method, **settings):
        """The answer; events that come meanwhile are kept in `events`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": settings}
        await self.socket.write_message(json.dumps(message))
        while True:
            told = json.loads(await asyncio.wait_for(self.socket.read_message(), 60))
            if told.get("id") == self.number:
                assert "error" not in told, told["error"]
                return told["result"]
            self.events.append(told)

    async def run(self, script):
        """The value of a script, awaited."""
        found = await self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def open(self, address, width):
        """Go there, with a screen of that width."""
        self.events.clear()
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        await self.ask("Page.navigate", url=address)
        for _ in range(600):
            if await self.run("document.readyState") == "complete":
                break
            await asyncio.sleep(0.05)

    def told(self, method):
        """The settings of the events of that kind since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") == method]


@contextlib.asynccontextmanager
async def browser(profile, dark=False):
    """A tab of a new browser of a reader who likes dark or light; its network is watched."""
    colours = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [CHROMIUM, *OPTIONS, colours, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        port = await _port(Path(profile) / "DevToolsActivePort", process)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            page = next(one for one in json.load(answer) if one["type"] == "page")
        socket = await websocket_connect(page["webSocketDebuggerUrl"], max_message_size=1 << 27)
        tab = Tab(socket)
        for domain in ("Page", "Network", "Runtime", "Log"):
            await tab.ask(f"{domain}.enable")
        await tab.ask("Network.setCacheDisabled", cacheDisabled=True)
        yield tab
        socket.close()
        while await asyncio.wait_for(socket.read_message(), 30) is not None:
            pass
    finally:
        process.terminate()
        process.wait(30)


async def _port(path, process):
    for _ in range(600):
        assert process.poll() is None, "chromium ended at once"
        if path.exists() and path.read_text().strip():
            return path.read_text().split()[0]
        await asyncio.sleep(0.05)
    raise AssertionError("chromium told no port")
