"""A small server with the part of the Hugging Face Hub's HTTP interface that loading a model uses.

`hub.models[name]` is a Model: commits of files, branches that point at them. Gated ones want the token.
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "s3cretTokenForTests"


@dataclass
class Model:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """A new commit of these files, to which the branch moves."""
        sha = hashlib.sha1(repr((sorted(files.items()), len(self.commits))).encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        return sha


@dataclass
class Hub:
    models: dict[str, Model] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Authorization
    trouble: int = 0  # answer everything with this status, and echo the token


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, text in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str, message: str) -> None:
        self.answer(json.dumps({"error": message}).encode(), status, X_Error_Code=code, X_Error_Message=message)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        sent = self.headers.get("Authorization", "")
        self.hub.requests.append((self.command, path, sent))
        if self.hub.trouble:
            return self.refuse(self.hub.trouble, "", f"Not with {sent}")
        parts = path.removeprefix("api/models/").split("/")
        model = self.hub.models.get("/".join(parts[:2]))
        if model is None:
            return self.refuse(404, "RepoNotFound", "Repository not found")
        wanted = parts[3] if len(parts) > 3 else "main"
        commit = model.branches.get(wanted, wanted)
        if commit not in model.commits:
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        files = model.commits[commit]
        if path.startswith("api/models/"):
            if len(parts) > 2 and parts[2] == "tree":
                rows = [{"type": "file", "path": n, "size": len(b), "oid": "0" * 40} for n, b in files.items()]
                return self.answer(json.dumps(rows).encode(), Content_Type="application/json")
            info = {"id": "/".join(parts[:2]), "sha": commit, "siblings": [{"rfilename": name} for name in files]}
            with contextlib.suppress(ValueError):
                config = json.loads(files.get("config.json", b"{}"))
                info["config"] = {key: config[key] for key in ("model_type", "architectures") if key in config}
            return self.answer(json.dumps(info).encode(), Content_Type="application/json")
        if model.gated and sent != f"Bearer {TOKEN}":
            if sent:
                return self.refuse(403, "GatedRepo", f"Access to model is restricted for {sent}")
            return self.refuse(401, "GatedRepo", "Access to model is restricted. Please log in.")
        name = "/".join(parts[4:])
        if name not in files:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        etag = hashlib.sha256(files[name]).hexdigest()
        self.answer(files[name], ETag=f'"{etag}"', X_Repo_Commit=commit)


@contextlib.contextmanager
def serving(monkeypatch, cache) -> Iterator[Hub]:
    """The hub that huggingface_hub asks in this process meanwhile, with an empty cache in `cache`."""
    from huggingface_hub import close_session, constants

    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHub", (Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(cache),
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    close_session()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        close_session()
