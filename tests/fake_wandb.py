"""A W&B server for tests: as much of its HTTP interface as wandb-core needs for one run, and ways to misbehave."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """What arrived, by run id; artifacts' types by name.

    ``fault`` is None, "refuse" (401), "error" (500) or "hang", changed at any time.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, fault: str | None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.fault = fault
        self.closing = threading.Event()
        self.requests: list[str] = []
        self.runs: dict[str, dict[str, Any]] = defaultdict(dict)
        self.rows: dict[str, list[dict]] = defaultdict(list)
        self.files: dict[str, bytes] = {}
        self.pending: dict[str, str] = {}
        self.artifacts: dict[str, str] = {}
        self.views: dict[str, dict[str, Any]] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: wandb-core leaves without closing its connections."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.requests.append(self.path)
        match self.server.fault:
            case "refuse":
                self.answer({"errors": [{"message": "invalid API key"}]}, status=401)
            case "error":
                self.answer({}, status=500)
            case "hang":
                self.server.closing.wait()
            case _ if self.path == "/graphql":
                query = json.loads(body)
                operation = re.search(r"(?:query|mutation) (\w+)", query["query"])[1]
                given = query.get("variables") or {}
                self.answer({"data": self.graphql(operation, given.get("input", given))})
            case _ if self.path.endswith("/file_stream"):
                stream = json.loads(body).get("files", {}).get("wandb-history.jsonl", {"content": []})
                self.server.rows[self.path.split("/")[-2]] += map(json.loads, stream["content"])
                self.answer({})
            case _:
                self.server.files[self.path.removeprefix("/upload/")] = body
                self.answer({})

    do_GET = do_PUT = do_POST  # noqa: N815

    def graphql(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """Files of an artifact arrive under ``<artifact>/<file>``; once committed, its name is in ``artifacts``."""
        server, upload = self.server, f"{self.server.url}/upload"
        match operation:
            case "UpsertBucket":
                server.runs[given["name"]] |= {key: value for key, value in given.items() if value is not None}
                project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": "tester"}}
                bucket = {"id": "b", "name": given["name"], "project": project, "config": "{}", "historyLineCount": 0}
                return {"upsertBucket": {"bucket": bucket, "inserted": True}}
            case "CreateRunFiles":
                files = [{"name": name, "uploadUrl": f"{upload}/{given['run']}/{name}"} for name in given["files"]]
                return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
            case "UpsertView2":
                name = given.get("id") or f"view{len(server.views)}"
                server.views[name] = given
                return {"upsertView": {"view": {"id": name, "name": given["name"]}, "inserted": True}}
            case "CreateArtifact":
                name = given["artifactCollectionName"]
                server.pending[name] = given["artifactTypeName"]
                artifact = {"id": name, "state": "PENDING", "artifactSequence": {"id": "s", "latestArtifact": None}}
                return {"createArtifact": {"artifact": artifact}}
            case "CreateArtifactManifest" | "UpdateArtifactManifest":
                of = given.get("artifactID") or given["artifactManifestID"]
                file = {"id": "f", "uploadUrl": f"{upload}/{of}/manifest.json", "uploadHeaders": []}
                return {operation[0].lower() + operation[1:]: {"artifactManifest": {"id": of, "file": file}}}
            case "CreateArtifactFiles":
                edges = []
                for file in given["artifactFiles"]:
                    place, of = f"{file['artifactID']}/{file['name']}", {"artifact": {"id": file["artifactID"]}}
                    node = {"id": place, "name": file["name"], "displayName": file["name"], "storagePath": place}
                    node |= {"uploadUrl": f"{upload}/{place}", "uploadHeaders": [], "uploadMultipartUrls": None}
                    edges.append({"node": node | of})
                return {"createArtifactFiles": {"files": {"edges": edges}}}
            case "CommitArtifact":
                name = given["artifactID"]
                server.artifacts[name] = server.pending[name]
                return {"commitArtifact": {"artifact": {"id": name, "digest": "d"}}}
            case _ if "artifact" in operation.lower():
                return {"project": {"artifact": None, "artifactType": None}}
        viewer = {"id": "u", "entity": "tester", "username": "tester", "teams": {"edges": []}}
        return {"viewer": viewer, "serverInfo": {"features": []}}

    def answer(self, content: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serve(fault: str | None = None) -> Iterator[Server]:
    """A server on a free port of this machine, at ``server.url``."""
    server = Server(fault)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
