"""Large files: through an LFS endpoint on loopback, checked against the real `git lfs`."""

import hashlib
import io
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

import padre_core as padre
from padre_core.workspace import Workspace
from padre_git.clone import CloneBackend
from padre_git.lfs import THRESHOLD, LocalFiles, Pointer, pointer_at

from .by_hand import bare, git, output
from .git_server import serving
from .lfs_server import Lfs

LARGE = b"0123456789abcdef" * (THRESHOLD // 16) + b"the end"
SMALL = b"small enough for git" * 5000
DIGEST = hashlib.sha256(LARGE).hexdigest()

needs_git_lfs = pytest.mark.skipif(
    shutil.which("git-lfs") is None and not os.environ.get("CI"), reason="needs git-lfs (Debian's git-lfs)"
)


@pytest.fixture
def server(tmp_path):
    bare(tmp_path / "srv" / "lab.git")
    with serving(tmp_path / "srv", {"ada": "secret"}) as server:
        yield server


@pytest.fixture
def lfs(server):
    return Lfs(server)


def opened(server, path, **options):
    return padre.open(f"{server.url}/lab.git", clone=path, user="ada", token="secret", **options)


def files_of(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "large.bin").write_bytes(LARGE)
    (folder / "small.bin").write_bytes(SMALL)
    return folder


@pytest.fixture
def user(tmp_path, server, monkeypatch):
    """The environment of somebody with `git lfs` installed and signed in."""
    (tmp_path / "kept").write_text(f"http://ada:secret@127.0.0.1:{server.server_port}\n")
    settings = tmp_path / "gitconfig"
    settings.write_text(
        f"[credential]\n\thelper = store --file {tmp_path / 'kept'}\n[user]\n\tname = A\n\temail = a@b\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    git(tmp_path, "lfs", "install", "--skip-repo")
    return {**os.environ, "GIT_TERMINAL_PROMPT": "0"}


def logged(workspace, folder):
    with workspace.start_run("iris/svc") as run:
        run.log_artifacts(folder)
    return run.id


def test_a_large_file_is_a_pointer_in_git_and_a_small_one_is_not(server, lfs, tmp_path):
    with opened(server, tmp_path / "a.git") as lab:
        logged(lab, files_of(tmp_path))
        lab.backend.publish()
    held = output(tmp_path / "srv/lab.git", "show", f"padre:blobs/{DIGEST[-2:]}/{DIGEST}")
    assert held == Pointer(DIGEST, len(LARGE)).encode()
    assert (lfs.files, lfs.verified) == ({DIGEST: LARGE}, {DIGEST})
    small = hashlib.sha256(SMALL).hexdigest()
    assert output(tmp_path / "srv/lab.git", "show", f"padre:blobs/{small[-2:]}/{small}") == SMALL


def test_another_clone_fetches_a_large_file_when_it_is_read(server, lfs, tmp_path):
    with opened(server, tmp_path / "a.git") as lab:
        run = logged(lab, files_of(tmp_path))
    with opened(server, tmp_path / "b.git") as lab:
        assert not any((tmp_path / "b.git" / "lfs").rglob(DIGEST))
        lab.artifacts.download(run, to=tmp_path / "out")
        assert (tmp_path / "out/large.bin").read_bytes() == LARGE
        assert [problem for problem in lab.verify() if problem.code == "corrupt"] == []


def test_it_is_sent_once(server, lfs, tmp_path):
    with opened(server, tmp_path / "a.git") as lab:
        folder = files_of(tmp_path)
        logged(lab, folder)
        lab.backend.publish()
        sent = server.bytes_in
        logged(lab, folder)
        lab.backend.publish()
        assert server.bytes_in - sent < len(LARGE) / 10


@needs_git_lfs
def test_git_clone_with_git_lfs_brings_what_was_pushed_and_finds_nothing_changed(server, lfs, tmp_path, user):
    with opened(server, tmp_path / "a.git") as lab:
        logged(lab, files_of(tmp_path))
    git(tmp_path, "clone", "-q", "-b", "padre", f"{server.origin}/lab.git", tmp_path / "work", env=user)
    assert (tmp_path / f"work/blobs/{DIGEST[-2:]}/{DIGEST}").read_bytes() == LARGE
    assert git(tmp_path / "work", "status", "--porcelain", env=user) == ""
    git(tmp_path / "work", "lfs", "fsck", env=user)
    with padre.open(tmp_path / "work", readonly=True) as lab:
        (run,) = lab.runs.list()
        lab.artifacts.download(run, to=tmp_path / "out")
    assert (tmp_path / "out/large.bin").read_bytes() == LARGE


@needs_git_lfs
def test_what_git_lfs_pushed_is_read(server, lfs, tmp_path, user):
    """A folder store that somebody put under git, with LFS for its large files."""
    with padre.open(tmp_path / "work") as lab:
        run = logged(lab, files_of(tmp_path))
    work = tmp_path / "work"
    git(work, "init", "-q", "-b", "padre", env=user)
    (work / ".gitattributes").write_text(f"{DIGEST} filter=lfs diff=lfs merge=lfs -text\n* -text\n{DIGEST} -text\n")
    (work / ".gitignore").write_text("log/lock\nlog/fold\n")
    git(work, "add", "-A", env=user)
    git(work, "commit", "-q", "-m", "put under git", env=user)
    git(work, "push", "-q", f"{server.origin}/lab.git", "padre", env=user)
    assert lfs.files == {DIGEST: LARGE}
    with opened(server, tmp_path / "b.git") as lab:
        lab.artifacts.download(run, to=tmp_path / "out")
        assert (tmp_path / "out/large.bin").read_bytes() == LARGE


def test_a_repository_without_lfs_says_what_it_cannot_hold_before_anything_is_stored(server, tmp_path):
    with opened(server, tmp_path / "a.git") as lab:
        with pytest.raises(padre.UnsupportedError, match=r"no Git LFS.*8 MiB.*lfs=False"):
            lab.backend.write_blob(io.BytesIO(LARGE))
        assert lab.backend.has_blobs([DIGEST]) == set()


def test_without_lfs_git_holds_it_if_that_is_asked_for(server, tmp_path):
    with opened(server, tmp_path / "a.git", lfs=False) as lab:
        logged(lab, files_of(tmp_path))
        lab.backend.publish()
    size = git(tmp_path / "srv/lab.git", "cat-file", "-s", f"padre:blobs/{DIGEST[-2:]}/{DIGEST}")
    assert int(size) == len(LARGE)


def test_a_large_file_that_is_stored_while_the_server_is_away_is_sent_later(server, lfs, tmp_path):
    with opened(server, tmp_path / "a.git") as lab:
        server.answer = lambda request: request.reply(503, [], b"") or True
        logged(lab, files_of(tmp_path))
        with pytest.raises(padre.UnavailableError):
            lab.backend.publish()
        server.answer = lfs
        lab.backend.publish()
    assert lfs.files == {DIGEST: LARGE}


def test_other_bytes_than_those_of_the_digest_are_not_taken(server, lfs, tmp_path):
    with opened(server, tmp_path / "a.git") as lab:
        run = logged(lab, files_of(tmp_path))
    lfs.files[DIGEST] = b"x" * len(LARGE)
    with opened(server, tmp_path / "b.git") as lab:
        with pytest.raises(padre.CorruptObjectError, match="other bytes"):
            lab.artifacts.download(run, to=tmp_path / "out")
        assert not any((tmp_path / "b.git/lfs").rglob(DIGEST))


def test_a_download_that_breaks_off_goes_on_where_it_was(server, lfs, tmp_path):
    with opened(server, tmp_path / "a.git") as lab:
        run = logged(lab, files_of(tmp_path))
    lfs.cut = 3_000_000
    with opened(server, tmp_path / "b.git") as lab:
        lab.artifacts.download(run, to=tmp_path / "out")
    assert (tmp_path / "out/large.bin").read_bytes() == LARGE
    assert lfs.begins == [0, 3_000_000, 6_000_000]


def test_the_next_process_goes_on_with_what_has_come(server, lfs, tmp_path):
    with opened(server, tmp_path / "a.git") as lab:
        run = logged(lab, files_of(tmp_path))
    with opened(server, tmp_path / "b.git") as lab:
        lfs.cut = 3_000_000
        server.answer = lambda request: (setattr(lfs, "cut", 0) if lfs.begins else None) or lfs(request)
        with pytest.raises(padre.UnavailableError, match="3,000,000 bytes"):
            lab.artifacts.download(run, to=tmp_path / "out")
    lfs.cut, server.answer = None, lfs
    with opened(server, tmp_path / "b.git") as lab:
        lab.artifacts.download(run, to=tmp_path / "out")
    assert (tmp_path / "out/large.bin").read_bytes() == LARGE
    assert lfs.begins[-1] == 3_000_000
    assert list((tmp_path / "b.git/lfs/incomplete").iterdir()) == []


def test_a_server_without_ranges_sends_it_whole_again(server, lfs, tmp_path):
    with opened(server, tmp_path / "a.git") as lab:
        run = logged(lab, files_of(tmp_path))
    lfs.ranges = False
    with opened(server, tmp_path / "b.git") as lab:
        part = incomplete(tmp_path / "b.git", LARGE[:5000])
        lab.artifacts.download(run, to=tmp_path / "out")
    assert (tmp_path / "out/large.bin").read_bytes() == LARGE
    assert not part.exists()


@pytest.mark.parametrize("left", [b"\0" * 5000, LARGE + b"more"])
def test_what_was_left_damaged_is_fetched_again(server, lfs, tmp_path, left):
    with opened(server, tmp_path / "a.git") as lab:
        run = logged(lab, files_of(tmp_path))
    with opened(server, tmp_path / "b.git") as lab:
        incomplete(tmp_path / "b.git", left)
        lab.artifacts.download(run, to=tmp_path / "out")
    assert (tmp_path / "out/large.bin").read_bytes() == LARGE


def incomplete(repository, data):
    """The part of the large file that an earlier process left."""
    part = repository / "lfs" / "incomplete" / f"padre-{DIGEST}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(data)
    return part


def test_the_password_goes_to_no_other_server(server, lfs, tmp_path):
    with opened(server, tmp_path / "a.git") as lab:
        run = logged(lab, files_of(tmp_path))
    with serving(tmp_path / "elsewhere") as thief:
        answer = lfs

        def elsewhere(request):
            if not request.path.endswith("/objects/batch"):
                return answer(request)
            href = f"{thief.origin}/steal"
            body = (
                f'{{"objects":[{{"oid":"{DIGEST}","size":{len(LARGE)},"actions":{{"download":{{"href":"{href}"}}}}}}]}}'
            )
            request.reply(200, [], body.encode())
            return True

        server.answer = elsewhere
        with opened(server, tmp_path / "b.git") as lab, pytest.raises(padre.AccessDeniedError, match="not followed"):
            lab.artifacts.download(run, to=tmp_path / "out")
        assert thief.requests == []


def test_two_repositories_on_this_machine_need_no_server(tmp_path):
    bare(tmp_path / "lab.git")
    url = f"git+{(tmp_path / 'lab.git').as_uri()}"
    with Workspace(CloneBackend(url, clone=tmp_path / "a.git")) as lab:
        run = logged(lab, files_of(tmp_path))
    with Workspace(CloneBackend(url, clone=tmp_path / "b.git")) as lab:
        lab.artifacts.download(run, to=tmp_path / "out")
    with padre.open(url) as lab:
        lab.artifacts.download(run, to=tmp_path / "again")
    assert (tmp_path / "out/large.bin").read_bytes() == (tmp_path / "again/large.bin").read_bytes() == LARGE


def test_what_a_user_stores_never_passes_for_a_pointer(tmp_path):
    trick = Pointer(DIGEST, len(LARGE)).encode()
    digest = hashlib.sha256(trick).hexdigest()
    assert pointer_at(f"blobs/{digest[-2:]}/{digest}", trick) is None
    with padre.open(f"git+{(tmp_path / 'lab.git').as_uri()}") as lab:
        found = lab.backend.write_blob(io.BytesIO(trick + b" " * 20000))
        with lab.backend.open_blob(found.digest) as file:
            assert file.read() == trick + b" " * 20000


def test_who_waits_for_a_download_finds_it_complete(tmp_path):
    files = LocalFiles(tmp_path)
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        with files.incomplete(DIGEST) as first:
            second = pool.submit(stack.enter_context, files.incomplete(DIGEST))
            first.write(LARGE)
            files.keep(first, DIGEST)
        assert second.result() is None
