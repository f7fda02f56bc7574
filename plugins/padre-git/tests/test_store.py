"""What a store in git leaves alone, what it opens, and what it refuses."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pygit2
import pytest
from pygit2.enums import Option

import padre_core as padre
from padre_core.backends import layout
from padre_core.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    BackendError,
    ConflictError,
    CorruptObjectError,
    InvalidObjectError,
    NotFoundError,
    UnsupportedError,
)
from padre_git import loose, packs
from padre_git.store import GitStore

from .by_hand import git


def url_of(folder, query=""):
    return f"git+{Path(folder).as_uri()}{query}"


def log_runs(workspace, count=2):
    for number in range(count):
        with workspace.start_run("iris/svc", name=f"run-{number}") as run:
            run.log_points("loss", [1.0, 0.5])
            run.log("done")


def names(url, **options):
    with padre.open(url, **options) as workspace:
        return sorted(run.name for run in workspace.runs.list("metrics.loss.last == 0.5"))


def contents(folder):
    """All files below a folder but those that belong to the branch or to PaDRe."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = str(path.relative_to(folder))
        if not name.startswith((".git/objects/", ".git/padre", ".git/refs/heads/padre", ".git/logs/refs/heads/padre")):
            found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


@pytest.fixture
def project(tmp_path):
    """Somebody's repository, with a work tree, an index, and changes in both."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "train.py").write_text("print(1)\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Begin")
    (folder / "train.py").write_text("print(2)\n")
    (folder / "new.py").write_text("new\n")
    git(folder, "add", "new.py")
    (folder / "untracked").write_text("mine\n")
    return folder


def test_a_repository_with_a_work_tree_stays_as_it_is(project):
    before, status, config = (
        contents(project),
        git(project, "status", "--porcelain"),
        git(project, "config", "-l", "--local"),
    )
    with padre.open(url_of(project)) as workspace:
        log_runs(workspace)
        workspace.runs.delete(next(iter(workspace.runs.list())))
    assert contents(project) == before
    assert git(project, "status", "--porcelain") == status
    assert git(project, "config", "-l", "--local") == config
    assert git(project, "branch", "--format=%(refname:short)").split() == ["main", "padre"]
    git(project, "fsck", "--strict")


def test_no_hook_is_run(project):
    for name in ("reference-transaction", "post-commit", "pre-commit", "post-index-change"):
        hook = project / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\ntouch hook-ran\n")
        hook.chmod(0o755)
    git(project, "config", "core.fsmonitor", "touch monitor-ran")
    git(project, "config", "filter.evil.clean", "touch filter-ran")
    with padre.open(url_of(project)) as workspace:
        log_runs(workspace)
    assert not [*project.rglob("*-ran")]


def test_a_clone_of_the_branch_is_a_store_in_a_folder(tmp_path):
    with padre.open(url_of(tmp_path / "lab.git")) as workspace:
        log_runs(workspace)
    git(tmp_path, "clone", "-q", "lab.git", "clone")
    assert names(tmp_path / "clone") == ["run-0", "run-1"]


@pytest.mark.parametrize("closed", [True, False])
def test_a_folder_that_was_put_under_git_is_a_store_in_git(tmp_path, closed):
    workspace = padre.open(tmp_path / "store")
    log_runs(workspace)
    if closed:
        workspace.close()
    git(tmp_path / "store", "init", "-q", "-b", "main")
    git(tmp_path / "store", "add", ".")
    git(tmp_path / "store", "commit", "-qm", "Put experiments under git")
    assert names(url_of(tmp_path / "store")) == ["run-0", "run-1"]
    if not closed:
        tree = git(tmp_path / "store", "ls-tree", "-r", "--name-only", "padre").split("\n")
        assert not [name for name in tree if name.startswith("log/")]
        workspace.close()
    assert git(tmp_path / "store", "rev-list", "--count", "main") == "1"


def test_what_a_folder_holds_is_read_without_making_a_branch(tmp_path):
    with padre.open(tmp_path / "store") as workspace:
        log_runs(workspace)
    git(tmp_path / "store", "init", "-q", "-b", "main")
    git(tmp_path / "store", "add", ".")
    git(tmp_path / "store", "commit", "-qm", "Put experiments under git")
    assert names(url_of(tmp_path / "store"), readonly=True) == ["run-0", "run-1"]
    assert git(tmp_path / "store", "branch", "--list", "padre") == ""


def test_a_clone_goes_on_from_the_branch_of_its_origin(tmp_path, project):
    with padre.open(url_of(project)) as workspace:
        log_runs(workspace, 1)
    git(tmp_path, "clone", "-q", "project", "clone")
    with padre.open(url_of(tmp_path / "clone")) as workspace:
        workspace.start_run("iris/svc", name="more").finish()
        assert workspace.runs.count() == 2
    git(tmp_path / "clone", "merge-base", "--is-ancestor", "origin/padre", "padre")


def test_a_copy_of_a_folder_says_the_same(tmp_path):
    with padre.open(tmp_path / "store") as workspace:
        log_runs(workspace)
        workspace.experiments.delete("iris/svc")
    report = padre.copy(tmp_path / "store", url_of(tmp_path / "lab.git"))
    assert report.objects > 4
    back = padre.copy(url_of(tmp_path / "lab.git"), tmp_path / "back")
    assert back.objects == report.objects


def test_a_branch_that_is_checked_out_is_only_read(tmp_path):
    with padre.open(url_of(tmp_path / "lab.git")) as workspace:
        log_runs(workspace)
    git(tmp_path, "clone", "-q", "lab.git", "clone")
    git(tmp_path / "clone", "worktree", "add", "-q", "-b", "other", "../tree")
    assert names(url_of(tmp_path / "clone"), readonly=True) == ["run-0", "run-1"]
    for query in ("", "?branch=other"):
        with pytest.raises(InvalidObjectError, match=r"checked out in .*switch --detach"):
            padre.open(url_of(tmp_path / "clone", query))
    assert names(url_of(tmp_path / "tree"), readonly=True) == ["run-0", "run-1"]


def test_two_branches_are_two_stores(tmp_path):
    with (
        padre.open(url_of(tmp_path / "lab.git")) as one,
        padre.open(url_of(tmp_path / "lab.git", "?branch=team/b")) as two,
    ):
        one.projects.put(padre.Project(name="one"))
        two.projects.put(padre.Project(name="two"))
        assert [project.name for project in one.projects.list()] == ["one"]
        assert [project.name for project in two.projects.list()] == ["two"]


@pytest.mark.parametrize("branch", ["-x", "a..b", "a.lock", "a b", "", "refs/../x", "a/", ".a", "x" * 300, "a\n"])
def test_a_branch_that_may_mean_something_else_is_refused(tmp_path, branch):
    with pytest.raises(InvalidObjectError):
        GitStore(url_of(tmp_path / "lab.git"), branch=branch or "-")


@pytest.mark.parametrize(
    "url", ["git+file://host/x", "git+file:relative", "git+file:///x?other=1", "git+file:///x%00y"]
)
def test_a_url_that_names_no_repository_is_refused(url):
    with pytest.raises((InvalidObjectError, ValueError)):
        padre.open(url)


def test_a_repository_that_libgit2_cannot_read_is_refused_with_the_reason(tmp_path):
    git(tmp_path, "init", "-q", "--object-format=sha256", "new")
    with pytest.raises(UnsupportedError, match="SHA-1"):
        padre.open(url_of(tmp_path / "new"))


def test_a_folder_with_other_things_is_no_repository(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InvalidObjectError, match="git init"):
        padre.open(url_of(tmp_path))
    assert [*tmp_path.iterdir()] == [tmp_path / "mine"]
    with pytest.raises(NotFoundError):
        padre.open(url_of(tmp_path / "none"), readonly=True)


def test_a_folder_inside_a_repository_is_not_taken_for_it(project):
    (project / "sub").mkdir()
    (project / "sub" / "file").write_text("mine")
    with pytest.raises(InvalidObjectError):
        padre.open(url_of(project / "sub"))


def test_broken_configuration_is_an_error_that_says_where(tmp_path):
    padre.open(url_of(tmp_path / "lab.git")).close()
    (tmp_path / "lab.git" / "config").write_text("[core\n bare = maybe")
    with pytest.raises(BackendError, match=r"lab\.git"):
        padre.open(url_of(tmp_path / "lab.git"))


@pytest.fixture
def hostile(tmp_path):
    """A store whose tree holds what no store should."""
    url = url_of(tmp_path / "lab.git")
    with padre.open(url) as workspace:
        log_runs(workspace, 1)
        project = workspace.projects.put(padre.Project(name="kept"))
    folder = tmp_path / "lab.git"
    link = git(folder, "hash-object", "-w", "--stdin", data=b"/etc/passwd")
    environment = {**os.environ, "GIT_INDEX_FILE": str(tmp_path / "index")}
    commit = git(folder, "rev-parse", "padre")
    entries = f"120000 {link}\tprojects/aa/link.json\n160000 {commit}\tmodule\n100755 {link}\tprojects/aa/run.json\n"
    for command in (["read-tree", "padre"], ["update-index", "--index-info"]):
        git(folder, *command, env=environment, data=entries.encode())
    tree = git(folder, "write-tree", env=environment)
    git(folder, "update-ref", "refs/heads/padre", git(folder, "commit-tree", tree, "-p", "padre", "-m", "Hostile"))
    return url, project


def test_links_and_submodules_are_named_and_never_followed(hostile):
    url, project = hostile
    store = GitStore(url, readonly=True)
    assert "projects/aa/link.json" not in [entry.key for entry in store.list("")]
    with pytest.raises(AccessDeniedError, match="symlink"):
        store.read("projects/aa/link.json")
    with pytest.raises(AccessDeniedError):
        store.read("module")
    with pytest.raises(NotFoundError):
        store.read("projects/aa/link.json/below")
    with padre.open(url, readonly=True) as workspace:
        assert workspace.projects.get(project.id).name == "kept"
        where = {problem.where for problem in workspace.verify() if problem.code in ("foreign", "corrupt")}
        assert where >= {"projects/aa/link.json", "module", "projects/aa/run.json"}


@pytest.mark.parametrize(("levels", "message"), [(20, "deep"), (8, "entries")])
def test_a_tree_that_refers_to_itself_a_billion_times_is_refused(tmp_path, monkeypatch, levels, message):
    monkeypatch.setattr("padre_git.trees.MAX_ENTRIES", 10_000)
    url = url_of(tmp_path / "lab.git")
    with padre.open(url) as workspace:
        log_runs(workspace, 1)
    store = GitStore(url)
    branch = store.branch
    id = branch.repo.TreeBuilder().write()
    for _ in range(levels):
        builder = branch.repo.TreeBuilder()
        for number in range(16):
            builder.insert(f"{number:02x}", id, 0o040000)
        id = builder.write()
    root = branch.repo.TreeBuilder(branch.tree())
    root.insert("projects", id, 0o040000)
    tree = str(root.write())
    commit = git(tmp_path / "lab.git", "commit-tree", tree, "-p", "padre", "-m", "Bomb")
    git(tmp_path / "lab.git", "update-ref", "refs/heads/padre", commit)
    for look in (lambda store: list(store.list("projects/")), lambda store: store.changes(None)):
        with pytest.raises(CorruptObjectError, match=message):
            look(GitStore(url))


def _unpack(repository):
    """Gives each object of a repository a file of its own."""
    for pack in (repository / "objects" / "pack").glob("*.pack"):
        data = pack.read_bytes()
        pack.with_suffix(".idx").unlink()
        pack.unlink()
        git(repository, "unpack-objects", "-q", data=data)


def test_a_missing_object_is_an_error_that_names_it_and_hurts_nothing_else(tmp_path):
    url = url_of(tmp_path / "lab.git")
    with padre.open(url) as workspace:
        log_runs(workspace, 1)
        project = workspace.projects.put(padre.Project(name="whole"))
        run = next(iter(workspace.runs.list()))
    store = GitStore(url)
    (key,) = (entry.key for entry in store.list("runs/") if entry.key.endswith("run.json"))
    id = store.read(key).version
    _unpack(tmp_path / "lab.git")
    (tmp_path / "lab.git" / "objects" / id[:2] / id[2:]).unlink()
    with padre.open(url, readonly=True) as workspace:
        with pytest.raises(CorruptObjectError, match=id):
            workspace.runs.get(run.id)
        assert workspace.projects.get(project.id).name == "whole"


WRITER = """
import sys, padre_core as padre
url, name = sys.argv[1:]
with padre.open(url, durability="process", linger=0) as workspace:
    for number in range(15):
        with workspace.start_run("iris/svc", name=f"{name}-{number}") as run:
            run.log_metric("loss", 0.5)
"""


def test_two_processes_and_git_itself_commit_at_once_and_nothing_is_lost(tmp_path):
    url = url_of(tmp_path / "lab.git")
    padre.open(url).close()
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, url, name]) for name in ("a", "b")]
    moved = 0
    while any(writer.poll() is None for writer in writers):
        tip = git(tmp_path / "lab.git", "rev-parse", "padre")
        commit = git(tmp_path / "lab.git", "commit-tree", f"{tip}^{{tree}}", "-p", tip, "-m", f"by hand {moved}")
        command = ["git", "update-ref", "refs/heads/padre", commit, tip]
        moved += not subprocess.run(command, cwd=tmp_path / "lab.git", capture_output=True, check=False).returncode
        time.sleep(0.02)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(names(url)) == 30
    subjects = git(tmp_path / "lab.git", "log", "--format=%s", "padre").splitlines()
    assert sum(subject.startswith("by hand") for subject in subjects) == moved > 0
    git(tmp_path / "lab.git", "fsck", "--strict")


def test_what_is_acknowledged_is_seen_by_other_openers_before_its_commit(tmp_path):
    url = url_of(tmp_path / "lab.git")
    with padre.open(url, linger=1000) as one, padre.open(url) as other:
        log_runs(one)
        tip = git(tmp_path / "lab.git", "log", "--format=%s", "-1", "padre")
        assert other.runs.count("metrics.loss.last == 0.5") == 2
        assert tip == "Make a store"


def test_a_batch_is_one_commit_or_none(tmp_path):
    store = GitStore(url_of(tmp_path / "lab.git"))
    with store.batch("Write two", "ada"):
        store.write("a", b"1")
        store.write("b/c", b"2")
        assert [entry.key for entry in store.list("")] == ["a", "b/c"]
    assert git(tmp_path / "lab.git", "log", "--format=%s", "padre") == "Write two"
    with pytest.raises(ZeroDivisionError), store.batch("Never"):
        store.write("a", b"3")
        1 / 0  # noqa: B018
    assert store.read("a").data == b"1"


def test_a_batch_does_not_overwrite_what_somebody_else_wrote_meanwhile(tmp_path):
    url = url_of(tmp_path / "lab.git")
    store, other = GitStore(url), GitStore(url)
    store.write("a", b"1")
    with pytest.raises(ConflictError), store.batch("Count"):
        data = store.read("a").data
        other.write("a", b"2")
        store.write("a", data + b"!")
        store.write("new", b"")
    assert store.read("a").data == b"2"
    with pytest.raises(AlreadyExistsError), store.batch("Make"):
        other.write("b", b"theirs")
        store.write("b", b"ours")
    with store.batch("Elsewhere"):
        other.write("c", b"theirs")
        store.write("d", b"ours")
    assert [entry.key for entry in store.list("")] == ["a", "b", "c", "d"]


def test_a_new_folder_into_which_somebody_else_put_another_file_meanwhile_is_a_conflict(tmp_path):
    store, other = (GitStore(url_of(tmp_path / "lab.git")) for _ in range(2))
    with pytest.raises(AlreadyExistsError, match="runs/a"), store.batch("Store"):
        assert list(store.write_folders([{"runs/a/run.json": [b"1"]}])) != [None]
        other.write("runs/a/points", b"2")
    assert [entry.key for entry in store.list("")] == ["runs/a/points"]


def test_a_folder_that_a_batch_put_a_file_into_is_no_new_one(tmp_path):
    store = GitStore(url_of(tmp_path / "lab.git"))
    with store.batch("Store"):
        store.write("runs/a/deep/points", b"1")
        versions = list(store.write_folders([{"runs/a/run.json": [b"2"]}, {"runs/b/run.json": [b"3"]}]))
        assert [version is None for version in versions] == [True, False]
        assert list(store.write_folders([{"runs/b/run.json": [b"4"]}])) == [None]
    assert [store.read(key).data for key in ("runs/a/deep/points", "runs/b/run.json")] == [b"1", b"3"]


def test_a_branch_that_git_moves_packs_or_writes_by_hand_is_seen_at_once(tmp_path):
    writer, reader = (GitStore(url_of(tmp_path / "lab.git")) for _ in range(2))
    writer.write("a", b"1")
    one = writer.branch.tip()
    writer.write("a", b"2")
    two = writer.branch.tip()
    for move in (
        lambda: git(tmp_path / "lab.git", "update-ref", "refs/heads/padre", one),
        lambda: git(tmp_path / "lab.git", "pack-refs", "--all"),
        lambda: git(tmp_path / "lab.git", "update-ref", "refs/heads/padre", two),
        lambda: (tmp_path / "lab.git" / "refs" / "heads" / "padre").write_text(f"{one}\n"),
        lambda: writer.write("a", b"3"),
    ):
        reader.branch.tip()
        move()
        tip = git(tmp_path / "lab.git", "rev-parse", "padre")
        assert reader.branch.tip() == writer.branch.tip() == tip
        assert reader.read("a").data == git(tmp_path / "lab.git", "show", "padre:a").encode()
    assert tip not in (one, two)


def test_the_lock_of_a_process_that_was_killed_does_not_stop_the_next(tmp_path):
    store = GitStore(url_of(tmp_path / "lab.git"))
    store.write("a", b"1")
    tip = store.branch.tip()
    lock = tmp_path / "lab.git" / "refs" / "heads" / "padre.lock"
    lock.write_text(f"{tip}\n")
    (store.branch.folder / "commit").write_text(tip)
    store.write("a", b"2")
    assert not lock.exists()


def test_a_lock_from_before_the_machine_was_started_does_not_stop_the_next(tmp_path):
    store = GitStore(url_of(tmp_path / "lab.git"))
    store.write("a", b"1")
    lock = tmp_path / "lab.git" / "refs" / "heads" / "padre.lock"
    lock.write_text("")  # what it said, and the note of it, are lost
    os.utime(lock, (0, 0))
    store.write("a", b"2")
    assert not lock.exists()


def test_a_lock_that_was_left_on_what_the_other_side_had_does_not_stop_the_next(tmp_path):
    store = GitStore(url_of(tmp_path / "lab.git"))
    store.write("a", b"1")
    tip = store.branch.tip()
    store.branch.ref.point(tip, power=False)
    lock = tmp_path / "lab.git" / "refs" / "remotes" / "origin" / "padre.lock"
    (store.branch.folder / "commit").write_text(tip)
    lock.write_text(tip)
    store.branch.ref.point(tip, power=False)
    assert not lock.exists()
    assert git(tmp_path / "lab.git", "rev-parse", "refs/remotes/origin/padre") == tip


def test_git_keeps_its_log_of_the_branch_beside_a_work_tree(tmp_path):
    git(tmp_path, "init", "--quiet", "lab")
    store = GitStore(url_of(tmp_path / "lab"))
    store.write("a", b"1")
    store.write("b", b"2")
    assert git(tmp_path / "lab", "reflog", "padre", "--format=%gs").splitlines() == ["padre: Store b", "padre: Store a"]
    assert "error" not in git(tmp_path / "lab", "fsck", "--strict")


@pytest.mark.parametrize("packed", [False, True])
def test_a_branch_whose_name_git_cannot_have_beside_another_is_refused(tmp_path, packed):
    GitStore(url_of(tmp_path / "lab.git"), branch="team").write("a", b"1")
    if packed:
        git(tmp_path / "lab.git", "pack-refs", "--all")
    with pytest.raises(BackendError, match="team"):
        GitStore(url_of(tmp_path / "lab.git"), branch="team/lab").write("a", b"1")
    assert git(tmp_path / "lab.git", "for-each-ref", "--format=%(refname)") == "refs/heads/team"


def test_the_lock_of_another_program_is_respected(tmp_path, monkeypatch):
    monkeypatch.setattr("padre_git.branch._LOCK_SECONDS", 0.2)
    store = GitStore(url_of(tmp_path / "lab.git"))
    store.write("a", b"1")
    lock = tmp_path / "lab.git" / "refs" / "heads" / "padre.lock"
    lock.write_text("")
    with pytest.raises(BackendError, match=r"padre\.lock"):
        store.write("a", b"2")
    assert lock.exists()
    assert store.read("a").data == b"1"


def test_maintain_repacks_and_drops_nothing(tmp_path):
    url = url_of(tmp_path / "lab.git")
    with padre.open(url, linger=0) as workspace:
        log_runs(workspace, 5)
        loose = git(tmp_path / "lab.git", "hash-object", "-w", "--stdin", data=b"of somebody else")
        phases = []
        done = workspace.maintain(lambda phase, number, total: phases.append(phase))
        assert done["kilobytes after"] < done["kilobytes before"]
        assert done["files merged"] > 4
        assert phases == ["repacking"]
        assert workspace.runs.count("metrics.loss.last == 0.5") == 5
        workspace.start_run("iris/svc", name="more").finish()
        assert len(list(workspace.runs.history(next(iter(workspace.runs.list("name == 'more'")))))) == 1
    assert git(tmp_path / "lab.git", "cat-file", "-t", loose) == "blob"
    git(tmp_path / "lab.git", "fsck", "--strict")
    assert len(names(url)) == 5


def test_what_came_by_git_while_a_change_was_in_the_log_is_kept_beside_it(tmp_path):
    url, other = url_of(tmp_path / "lab.git"), url_of(tmp_path / "other.git")
    with padre.open(url) as workspace:
        workspace.experiments.put(padre.Experiment(name="svc", project="iris", title="first"))
        run = workspace.start_run("iris/svc")
        run.finish()
    git(tmp_path, "clone", "-q", "--bare", "lab.git", "other.git")
    with padre.open(other) as there:
        there.experiments.put(padre.Experiment(name="svc", project="iris", title="theirs"))
        there.runs.put(padre.Run(id=run.id, tags={"by": "them"}, execution=there.runs.get(run.id).execution))
    with padre.open(url, linger=1000) as here:
        here.experiments.put(padre.Experiment(name="svc", project="iris", title="ours"))
        here.runs.put(padre.Run(id=run.id, tags={"by": "us"}, execution=here.runs.get(run.id).execution))
        git(tmp_path / "lab.git", "fetch", "-q", "../other.git", "padre:padre")
    with padre.open(url) as workspace:
        for found, both in (
            (workspace.experiments.get("iris/svc"), {b'"ours"', b'"theirs"'}),
            (workspace.runs.get(run.id), {b'"us"', b'"them"'}),
        ):
            head = workspace.backend.get(found.kind, found.id)
            texts = head.content + b"".join(lost.content for lost in head.conflicts)
            assert all(text in texts for text in both)
    git(tmp_path / "lab.git", "merge-base", "--is-ancestor", git(tmp_path / "other.git", "rev-parse", "padre"), "padre")


def test_objects_are_on_the_disk_before_the_branch_names_them_and_that_before_the_log_goes(tmp_path, monkeypatch):
    told = []

    def tell(place, name, word):
        real = getattr(place, name)

        def told_of(*arguments, **options):
            told.append(word)
            return real(*arguments, **options)

        monkeypatch.setattr(place, name, told_of)

    with padre.open(url_of(tmp_path / "lab.git"), linger=1000) as workspace:
        log_runs(workspace, 1)
        tell(packs, "datasync", "sync")
        tell(packs, "sync_folder", "sync of the folder")
        tell(loose, "datasync", "sync of the branch")
        tell(loose, "sync_folder", "sync of its folder")
        tell(workspace.backend.store.branch.folders, "rebuilt", "write")
        tell(workspace.backend.journal, "forget", "log")
        workspace.backend.fold()
    last = len(told) - 1 - told[::-1].index("write")
    ends = ["sync", "sync", "sync of the folder", "sync of the branch", "sync of its folder", "log"]
    assert told[last + 1 :] == ends


def test_the_files_of_a_run_come_with_its_commit_and_are_read_by_all_before_it(tmp_path):
    url = url_of(tmp_path / "lab.git")
    files = {f"{number}.bin": bytes([number]) * 100_000 for number in range(20)}
    with padre.open(url, linger=60) as workspace, padre.open(url) as other:
        with workspace.start_run("iris/svc") as run:
            for name, data in files.items():
                (tmp_path / name).write_bytes(data)
                run.log_artifact(tmp_path / name)
            found = {artifact.path: other.artifacts.read(artifact) for artifact in other.artifacts.list()}
            assert found == files
        assert len(git(tmp_path / "lab.git", "log", "--format=%h", "padre").split()) == 1
    assert git(tmp_path / "lab.git", "log", "--format=%s", "padre").splitlines()[-1] == "Make a store"
    assert len(git(tmp_path / "lab.git", "log", "--format=%h", "padre").split()) == 2
    git(tmp_path, "clone", "--quiet", "--branch", "padre", "lab.git", "clone")
    with padre.open(tmp_path / "clone") as workspace:
        assert {artifact.path: workspace.artifacts.read(artifact) for artifact in workspace.artifacts.list()} == files


def test_a_file_whose_process_was_killed_before_any_commit_comes_with_the_next(tmp_path):
    store = GitStore(url_of(tmp_path / "lab.git"))
    store.write("padre.json", b"{}")
    key = layout.blob_key("ab" * 32)
    store.write(key, b"left behind")
    again = GitStore(url_of(tmp_path / "lab.git"))
    assert again.read(key).data == b"left behind"
    assert [entry.key for entry in again.list("blobs/")] == [key]
    again.write("projects/x.json", b"{}")
    assert git(tmp_path / "lab.git", "show", f"padre:{key}") == "left behind"
    assert not list(again.branch.staged.entries())
    again.delete(key)
    with pytest.raises(NotFoundError):
        store.read(key)


def test_a_waiting_file_that_the_loss_of_power_took_away_is_not_there_and_can_be_stored_again(tmp_path):
    store = GitStore(url_of(tmp_path / "lab.git"))
    store.write("padre.json", b"{}")
    key = layout.blob_key("ab" * 32)
    id = store.write(key, b"lost")
    (tmp_path / "lab.git" / "objects" / id[:2] / id[2:]).unlink()
    again = GitStore(url_of(tmp_path / "lab.git"))
    with pytest.raises(NotFoundError):
        again.stat(key)
    again.write("projects/x.json", b"{}")
    git(tmp_path / "lab.git", "fsck", "--strict")
    again.write(key, b"stored again")
    again.write("projects/y.json", b"{}")
    assert git(tmp_path / "lab.git", "show", f"padre:{key}") == "stored again"


@pytest.mark.parametrize(("asked", "walks"), [(False, 0), (True, 1)])
def test_who_commits_many_runs_does_not_fill_an_index_that_nobody_asked(tmp_path, monkeypatch, asked, walks):
    url = url_of(tmp_path / "lab.git")
    with padre.open(url, linger=1000) as lab:
        lab.start_run("iris/svc").finish()
    cursors = []
    changes = GitStore.changes
    with padre.open(url, linger=1000) as lab:
        if asked:
            assert lab.runs.count() == 1
        monkeypatch.setattr(GitStore, "changes", lambda self, since: cursors.append(since) or changes(self, since))
        for _ in range(70):
            lab.start_run("iris/svc").finish()
        lab.backend.fold()
        assert len(cursors) == walks
        assert None not in cursors
        assert lab.runs.count() == 71


@pytest.mark.parametrize(("durability", "synced"), [("power", True), ("process", False)])
def test_a_file_that_waits_for_a_commit_is_on_the_disk_before_it_has_its_name(
    tmp_path, monkeypatch, durability, synced
):
    with padre.open(url_of(tmp_path / "lab.git"), durability=durability, linger=1000) as lab:
        told = []
        repository, option = lab.backend.store.branch.repo, pygit2.option

        class Watched:
            def create_blob(self, data):
                told.append("write")
                return repository.create_blob(data)

        def told_of(name, *values):
            told.append((name, *values))
            return option(name, *values)

        monkeypatch.setattr(pygit2, "option", told_of)
        monkeypatch.setattr(lab.backend.store.branch, "repo", Watched())
        lab.backend.write_blob(io.BytesIO(bytes(100_000)))
        monkeypatch.undo()
    assert told[: told.index("write")] == ([(Option.ENABLE_FSYNC_GITDIR, True)] if synced else [])


def test_the_log_of_a_run_that_is_committed_at_once_needs_no_sync_of_its_own(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("padre_core.streams.log.datasync", lambda fd: synced.append(fd) or os.fdatasync(fd))
    with padre.open(url_of(tmp_path / "lab.git"), linger=0) as lab:
        log_runs(lab, 3)
        lab.projects.put(padre.Project(name="beside"))
        assert not synced
        monkeypatch.setattr(lab.backend.store.branch, "commit", lambda *_: (_ for _ in ()).throw(BackendError("full")))
        lab.projects.put(padre.Project(name="later"))
        assert synced
        monkeypatch.undo()
    with padre.open(url_of(tmp_path / "lab.git"), readonly=True) as lab:
        assert lab.runs.count() == 3
        assert lab.projects.get("later").name == "later"
