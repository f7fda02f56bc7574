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
        ranges: Whether a part of a file can be asked for.
        cut: After how many bytes each answer breaks off; None: never.
        begins: Where each download that was asked for began.
    """

    def __init__(self, server) -> None:
        self.server = server
        self.files: dict[str, bytes] = {}
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.verified: set[str] = set()
        self.ranges, self.cut = True, None
        self.begins: list[int] = []
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
            self._give(request, self.files.get(digest))
        elif hashlib.sha256(request.body).hexdigest() != digest:
            request.reply(422, [], b"")
        else:
            self.files[digest] = request.body
            request.reply(200, [], b"")

    def _give(self, request, data: bytes | None) -> None:
        if data is None:
            request.reply(404, [], b"")
            return
        found = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        begin = int(found[1]) if found and self.ranges else 0
        self.begins.append(begin)
        request.send_response(206 if begin else 200)
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(data) - begin))
        request.end_headers()
        request.wfile.write(data[begin:][: self.cut])
        request.close_connection = True
