"""A small server with the part of the Hugging Face Hub's HTTP interface that publishing a folder uses.

It keeps repositories in memory: `repositories[name]` is {"private": ..., "files": {path: bytes}}.
"""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_onlyForTests"


class Hub:
    def __init__(self) -> None:
        self.repositories: dict[str, dict] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.writers = {"our-team"}
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args) -> None:
        pass

    def answer(self, value, status: int = 200, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in ({"Content-Type": "application/json", "Content-Length": str(len(body))} | headers).items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def refused(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return False
        self.answer({"error": "Invalid credentials"}, 401)
        return True

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(("GET", path))
        if self.refused():
            return None
        if path.startswith("/api/models/"):
            parts = path.removeprefix("/api/models/").split("/")
            name, rest = "/".join(parts[:2]), parts[2:]
            repository = self.hub.repositories.get(name)
            if repository is None:
                return self.answer({"error": "Repository not found"}, 404, **{"X-Error-Code": "RepoNotFound"})
            if rest[:1] == ["tree"]:
                return self.answer(
                    [
                        {"type": "file", "path": file, "size": len(data), "oid": "0" * 40}
                        for file, data in repository["files"].items()
                    ]
                )
            return self.answer(
                {
                    "id": name,
                    "modelId": name,
                    "sha": "1" * 40,
                    "private": repository["private"],
                    "tags": [],
                    "siblings": [{"rfilename": file} for file in repository["files"]],
                }
            )
        return self.answer({"error": "unknown"}, 404)

    def do_PUT(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(("PUT", path))
        self.hub.objects[path.rsplit("/", 1)[-1]] = self.body()
        self.answer({})

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(("POST", path))
        body = self.body()
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if self.refused():
            return None
        if path == "/api/repos/create":
            asked = json.loads(body)
            account = asked.get("organization") or "our-team"
            if account not in self.hub.writers:
                return self.answer({"error": "You don't have the rights"}, 403)
            private = asked.get("private", asked.get("visibility") == "private")
            self.hub.repositories[f"{account}/{asked['name']}"] = {
                "private": private,
                "files": {".gitattributes": b""},
            }
            return self.answer({"url": f"{self.hub.url}/{account}/{asked['name']}"})
        if path.endswith(".git/info/lfs/objects/batch"):
            return self.answer(
                {
                    "transfer": "basic",
                    "objects": [
                        {
                            "oid": one["oid"],
                            "size": one["size"],
                            "actions": {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}", "header": {}}},
                        }
                        for one in json.loads(body)["objects"]
                    ],
                },
                **{"Content-Type": "application/vnd.git-lfs+json"},
            )
        name = "/".join(path.removeprefix("/api/models/").split("/")[:2])
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            return self.answer(
                {
                    "files": [
                        {
                            "path": one["path"],
                            "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                            "shouldIgnore": False,
                        }
                        for one in files
                    ]
                }
            )
        if "/commit/" in path:
            kept = self.hub.repositories[name]["files"]
            for line in body.splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    kept[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    kept[value["path"]] = self.hub.objects[value["oid"]]
            return self.answer(
                {"commitUrl": f"{self.hub.url}/{name}/commit/{'2' * 40}", "commitOid": "2" * 40, "success": True}
            )
        return self.answer({"error": f"unknown: {path}"}, 404)


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
