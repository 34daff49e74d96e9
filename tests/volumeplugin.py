"""A volume driver as engines know them, in a few lines: its volumes are folders of its own.

Source: https://docs.docker.com/engine/extend/plugins_volume/.
"""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any


class VolumePlugin(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens in a folder in which an engine looks for plugins, as `disk`."""

    daemon_threads = True

    def __init__(self, plugins: Path, folder: Path) -> None:
        plugins.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        super().__init__(str(plugins / "disk.sock"), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, asked: str, name: str) -> dict[str, Any]:
        """Return what is said to one call."""
        place = self.folder / (name or "none")
        volume = {"Name": name, "Mountpoint": str(place)}
        if asked == "/VolumeDriver.Create":
            place.mkdir(parents=True, exist_ok=True)
        known: dict[str, dict[str, Any]] = {
            "/Plugin.Activate": {"Implements": ["VolumeDriver"]},
            "/VolumeDriver.Capabilities": {"Capabilities": {"Scope": "local"}},
            "/VolumeDriver.List": {"Volumes": []},
            "/VolumeDriver.Get": {"Volume": volume} if place.is_dir() else {"Err": "no such volume"},
        }
        return {"Err": "", **known.get(asked, {"Mountpoint": str(place)})}

    def close(self) -> None:
        """Stop."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: VolumePlugin

    def do_POST(self) -> None:  # as http.server wants it
        """Answer one call."""
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        said = json.dumps(self.server.answer(self.path, str(asked.get("Name") or ""))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
