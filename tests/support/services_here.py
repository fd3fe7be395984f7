"""Services within this process, for tests that look into them or change a part."""

import contextlib
import socket
import threading
import time

import httpx
import uvicorn

from fastmark.service.app import make_app
from fastmark.service.settings import Settings


@contextlib.contextmanager
def asking(options, start=False, **changed):
    """A client of a service here, and the service; its processes run if ``start``."""
    app = make_app(Settings.read(**(options | changed)))
    config = uvicorn.Config(app, lifespan="on" if start else "off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    service = app.state.service
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            end = time.monotonic() + 300
            while not (server.started and (service.ready or not start)) and time.monotonic() < end:
                time.sleep(0.02)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                yield client, service
        finally:
            server.should_exit = True
            thread.join()
