import io

import padre_core as padre
from padre_core.objects import canonical
from padre_core.objects.record import successor


def test_a_blob_of_a_version_that_lost_is_in_use(tmp_path):
    """It may be what somebody resolves the conflict to."""
    with padre.open(tmp_path / "store") as workspace:
        run = workspace.start_run("iris/svc")
        artifact = run.log_artifact(io.BytesIO(b"first"), "model.txt")
        run.finish()
        backend = workspace.backend
        base = backend.get("artifact", artifact.id)
        for text in (b"ours", b"theirs"):
            blob = backend.write_blob(io.BytesIO(text))
            content = canonical.canonical_json({**base.data(), "digest": blob.digest, "size": blob.size})
            backend.put(successor(base, content, by=None, at=base.updated_at))
        assert backend.get("artifact", artifact.id).conflicts
        problems = [problem.where for problem in workspace.verify() if problem.code == "unused-blob"]
        assert len(problems) == 1, "only the first bytes are named by no version that is kept"
