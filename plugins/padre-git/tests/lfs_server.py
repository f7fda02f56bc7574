"""A Git LFS endpoint beside the repositories of a `GitServer`: batch API and basic transfers, as specified."""

import hashlib
import json
import re

MEDIA = "application/vnd.git-lfs+json"


class Lfs:
    """Keeps large files in memory; give it to a server as `answer`.

    Attributes:
        files: What was uploaded, by digest.
        calls: Operations and what was asked for.
    """

    def __init__(self, server) -> None:
        self.server = server
        self.files: dict[str, bytes] = {}
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.verified: set[str] = set()
        server.answer = self

    def __call__(self, request) -> bool:
        found = re.fullmatch(
            r"(/[\w.-]+)/info/lfs/(objects/batch|objects/([0-9a-f]{64})|verify|locks/verify)", request.path
        )
        if found is None:
            return False
        user = request._user()
        if self.server.users is not None and user is None:
            request.reply(
                401, [("LFS-Authenticate", 'Basic realm="lfs"'), ("Content-Type", MEDIA)], b'{"message":"who?"}'
            )
        elif found[2] == "objects/batch":
            self._batch(request, found[1])
        elif found[2] == "verify":
            body = json.loads(request.body)
            held = self.files.get(body["oid"])
            self.verified.add(body["oid"])
            request.reply(200 if held is not None and len(held) == body["size"] else 404, [], b"")
        elif found[2] == "locks/verify":
            request.reply(404, [("Content-Type", MEDIA)], b'{"message":"no locks"}')
        else:
            self._object(request, found[3])
        return True

    def _batch(self, request, repository: str) -> None:
        assert request.headers["Accept"].startswith(MEDIA), request.headers
        body = json.loads(request.body)
        self.calls.append((body["operation"], tuple(item["oid"] for item in body["objects"])))
        base = f"{self.server.origin}{repository}/info/lfs"
        answers = []
        for item in body["objects"]:
            answer = {"oid": item["oid"], "size": item["size"]}
            held = item["oid"] in self.files
            if body["operation"] == "upload" and not held:
                answer["actions"] = {
                    "upload": {"href": f"{base}/objects/{item['oid']}"},
                    "verify": {"href": f"{base}/verify"},
                }
            elif body["operation"] == "download" and held:
                answer["actions"] = {"download": {"href": f"{base}/objects/{item['oid']}"}}
            elif body["operation"] == "download":
                answer["error"] = {"code": 404, "message": "no such object"}
            answers.append(answer)
        reply = json.dumps({"transfer": "basic", "objects": answers, "hash_algo": "sha256"}).encode()
        request.reply(200, [("Content-Type", MEDIA)], reply)

    def _object(self, request, digest: str) -> None:
        if request.command == "GET":
            data = self.files.get(digest)
            request.reply(404 if data is None else 200, [("Content-Type", "application/octet-stream")], data or b"")
        elif hashlib.sha256(request.body).hexdigest() != digest:
            request.reply(422, [], b"")
        else:
            self.files[digest] = request.body
            request.reply(200, [], b"")
