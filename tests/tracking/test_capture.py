import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from padre_core.capture import installed_packages, redact

REPORT = """
import json
import padre_core.worktree
from padre_core.capture import capture
padre_core.worktree.GIT_TIMEOUT = 300
found = capture()
print(json.dumps({
    "code": json.loads(found.code.content()),
    "command": found.command,
    "environment": found.environment.model_dump(mode="json") | {"packages": found.packages},
}))
"""


def run(*arguments, cwd, stdin=None, env=None):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, input=stdin, text=True, capture_output=True, check=True, env=env
    )
    return json.loads(done.stdout)


def git(*arguments, cwd):
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


def snapshot(folder):
    """Names, times and contents of all files: whatever was touched shows."""
    return {
        path: (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def script(tmp_path):
    script = tmp_path / "project" / "train.py"
    script.parent.mkdir()
    script.write_text(REPORT)
    return script


@pytest.fixture
def repository(script):
    git("init", "-q", cwd=script.parent)
    git("add", "train.py", cwd=script.parent)
    git("commit", "-q", "-m", "first", cwd=script.parent)
    return script.parent


def test_a_script_in_a_clean_repository_is_its_commit(repository):
    found = run("train.py", cwd=repository)
    commit = git("rev-parse", "HEAD", cwd=repository).strip()
    assert found["code"] == {"type": "git", "file": "train.py", "commit": commit}
    assert found["environment"]["commit"] == commit
    assert found["environment"]["changes"] is None


def test_an_edit_changes_the_digest_and_undoing_it_brings_the_clean_version_back(repository):
    clean = run("train.py", cwd=repository)["code"]
    script = repository / "train.py"
    script.write_text(REPORT + "# edited\n")
    edited = run("train.py", cwd=repository)["code"]
    script.write_text(REPORT + "# edited again\n")
    again = run("train.py", cwd=repository)["code"]
    script.write_text(REPORT)
    assert len({clean.get("changes"), edited["changes"], again["changes"]}) == 3
    assert run("train.py", cwd=repository)["code"] == clean


def test_staged_and_unstaged_edits_count_alike(repository):
    (repository / "train.py").write_text(REPORT + "# edited\n")
    unstaged = run("train.py", cwd=repository)["code"]
    git("add", "train.py", cwd=repository)
    assert run("train.py", cwd=repository)["code"] == unstaged


def test_a_removed_file_and_a_new_mode_are_changes(repository):
    (repository / "helper.py").write_text("")
    git("add", "helper.py", cwd=repository)
    git("commit", "-q", "-m", "second", cwd=repository)
    (repository / "helper.py").chmod(0o755)
    executable = run("train.py", cwd=repository)["code"]["changes"]
    (repository / "helper.py").unlink()
    assert run("train.py", cwd=repository)["code"]["changes"] != executable


def test_untracked_sources_are_changes(repository):
    (repository / "model.py").write_text("a = 1")
    first = run("train.py", cwd=repository)["code"]["changes"]
    (repository / "model.py").write_text("a = 2")
    assert run("train.py", cwd=repository)["code"]["changes"] != first


@pytest.mark.parametrize("result", ["model.joblib", "padre-store/runs/x.py", "other/padre.json"])
def test_results_and_stores_are_no_changes(repository, result):
    (repository / result).parent.mkdir(parents=True, exist_ok=True)
    (repository / result).write_text("new")
    (repository / result).with_name("config.yaml").write_text("new") if result.endswith("padre.json") else None
    assert "changes" not in run("train.py", cwd=repository)["code"]


def test_ignored_files_are_no_changes(repository):
    (repository / ".git" / "info" / "exclude").write_text("scratch.py\n")
    (repository / "scratch.py").write_text("new")
    assert "changes" not in run("train.py", cwd=repository)["code"]


def test_a_script_below_the_repository_is_named_from_its_root(repository):
    nested = repository / "jobs" / "nightly.py"
    nested.parent.mkdir()
    nested.write_text(REPORT)
    assert run(str(nested), cwd="/")["code"]["file"] == "jobs/nightly.py"


def test_the_repository_is_never_touched(repository):
    os.utime(repository / "train.py")  # git would like to refresh its index now
    (repository / "new.py").write_text("")
    before = snapshot(repository)
    run("train.py", cwd=repository)
    assert snapshot(repository) == before


def test_nothing_that_the_repository_configures_is_started(repository, tmp_path):
    witness = tmp_path / "started"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {witness}\ncat\n")
    program.chmod(0o755)
    (repository / ".gitattributes").write_text("* diff=evil filter=evil\n")
    for setting in (
        "core.fsmonitor", "diff.external", "diff.evil.textconv", "diff.evil.command", "filter.evil.clean",
        "filter.evil.process", "core.pager", "core.sshCommand", "core.alternateRefsCommand",
    ):  # fmt: skip
        git("config", setting, str(program), cwd=repository)
    (repository / "train.py").write_text(REPORT + "# edited\n")
    assert run("train.py", cwd=repository)["code"]["changes"]
    assert not witness.exists()


def test_git_variables_of_the_caller_lead_nowhere_else(repository, tmp_path):
    environment = os.environ | {"GIT_DIR": str(tmp_path / "elsewhere"), "GIT_EXTERNAL_DIFF": "false"}
    assert run("train.py", cwd=repository, env=environment)["code"]["type"] == "git"


def test_a_link_is_not_followed(repository, tmp_path):
    target = tmp_path / "target.py"
    target.write_text("one")
    (repository / "link.py").symlink_to(target)
    first = run("train.py", cwd=repository)["code"]
    target.write_text("two")
    assert run("train.py", cwd=repository)["code"] == first


def test_a_repository_that_git_refuses_counts_as_none(repository):
    (repository / ".git" / "HEAD").write_text("nonsense")
    assert run("train.py", cwd=repository)["code"]["type"] == "file"


def test_a_repository_without_commits_counts_as_none(script):
    git("init", "-q", cwd=script.parent)
    assert run("train.py", cwd=script.parent)["code"]["type"] == "file"


def test_outside_of_repositories_no_process_is_started(script):
    script.write_text(
        textwrap.dedent("""
        import sys
        def audit(event, arguments):
            if event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork"):
                raise AssertionError(event)
        sys.addaudithook(audit)
        """)
        + REPORT
    )
    code = run("train.py", cwd=script.parent)["code"]
    assert code["type"] == "file"
    assert code["file"] == "train.py"


def test_a_script_is_known_by_its_digest_wherever_it_lies(script, tmp_path):
    copy = tmp_path / "train.py"
    copy.write_text(script.read_text())
    assert run(str(script), cwd="/")["code"] == run("train.py", cwd=tmp_path)["code"]


def test_standard_input_and_one_liners_are_their_command(tmp_path):
    assert run("-", cwd=tmp_path, stdin=REPORT)["code"]["command"][1:] == ["-"]
    assert run("-c", REPORT, cwd=tmp_path)["code"]["command"][1:] == ["-c", REPORT]


def test_the_environment_says_where_but_no_variables(script):
    environment = run("train.py", cwd=script.parent, env=os.environ | {"SECRET_WORD": "xyzzy"})["environment"]
    assert environment["python"] == sys.version.split()[0]
    assert environment["processors"] == os.cpu_count()
    assert environment["packages"]["pydantic-core"]
    assert "xyzzy" not in json.dumps(environment)


def test_packages_are_read_from_folder_names_and_the_first_on_the_path_counts(tmp_path):
    for path in (
        "a/Typing_Extensions-4.1.dist-info",
        "b/typing_extensions-3.0.dist-info",
        "b/zope.event-5.0.dist-info",
    ):
        (tmp_path / path).mkdir(parents=True)
    paths = [str(tmp_path / "a"), str(tmp_path / "missing"), str(tmp_path / "b")]
    assert installed_packages(paths) == {"typing-extensions": "4.1", "zope-event": "5.0"}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("train.py --token abc", "train.py --token ***"),
        ("train.py --api-key=abc --lr 1", "train.py --api-key=*** --lr 1"),
        ("train.py --db_password abc", "train.py --db_password ***"),
        ("train.py +auth.token=abc", "train.py +auth.token=***"),
        ("train.py --auth --lr 1", "train.py --auth --lr 1"),
        ("train.py --tokenizer bert --max-tokens 5 --bypass 3", "train.py --tokenizer bert --max-tokens 5 --bypass 3"),
        ("fetch https://ada:abc@example.org/x", "fetch https://***@example.org/x"),
        ("fetch https://example.org/?a=1&token=abc&b=2", "fetch https://example.org/?a=1&token=***&b=2"),
        ("fetch padre_" + 24 * "a", "fetch ***"),
        ("train.py --PASSWD abc --Passphrase abc --DB_PWD abc", "train.py --PASSWD *** --Passphrase *** --DB_PWD ***"),
        ("train.py --bearer abc --CREDENTIALS abc", "train.py --bearer *** --CREDENTIALS ***"),
        ("train.py --pa\u017fscode abc --credent\u0131al abc", "train.py --pa\u017fscode *** --credent\u0131al ***"),
        ("train.py --to\u212aen=abc --signing.\u212aEY=abc", "train.py --to\u212aen=*** --signing.\u212aEY=***"),
    ],
)
def test_secrets_leave_the_command_line(command, expected):
    assert redact(command.split(" ")) == tuple(expected.split(" "))


def test_a_secret_in_a_header_leaves_the_command_line():
    assert redact(["-H", "Authorization: Bearer abc"]) == ("-H", "Authorization: Bearer ***")


def test_a_secret_in_a_one_liner_leaves_the_command_line():
    assert redact(["-c", "login(password='a b')"]) == ("-c", "login(password=***)")


def test_a_whole_secret_with_spaces_leaves_the_command_line():
    assert redact(["--password=a b&c"]) == ("--password=***",)


def test_the_captured_command_is_redacted(script):
    found = run("train.py", "--token", "abc", cwd=script.parent)
    assert found["command"][1:] == ["train.py", "--token", "***"]


def test_undecodable_arguments_are_stored_as_text(script):
    found = subprocess.run([sys.executable, "train.py", b"\xff"], cwd=script.parent, capture_output=True, check=True)
    assert json.loads(found.stdout)["command"][2] == "?"


def test_huge_changes_are_read_within_bounds(repository):
    with (repository / "huge.py").open("wb") as file:
        file.truncate(10 * 2**30)
    assert run("train.py", cwd=repository)["code"]["changes"]


def test_capture_happens_once():
    done = "from padre_core.capture import capture; print(1 if capture() is capture() else 0)"
    assert run("-c", done, cwd=Path("/")) == 1


def test_a_notebook_is_a_command_that_does_not_change_with_each_kernel(tmp_path):
    kernel = "import sys, types; sys.modules['ipykernel'] = types.ModuleType('ipykernel')\n"
    code = run("-c", kernel + REPORT, cwd=tmp_path)["code"]
    assert code["type"] == "command"
    assert code["command"][1:] == ["-m", "ipykernel_launcher"]


def test_an_answer_of_git_that_makes_no_sense_keeps_no_run_from_starting(tmp_path):
    (tmp_path / "work" / ".git").mkdir(parents=True)
    (tmp_path / "work" / "train.py").write_text(REPORT)
    senseless = tmp_path / "bin" / "git"
    senseless.parent.mkdir()
    senseless.write_text("#!/bin/sh\nprintf 'a\\0b\\0'\n")
    senseless.chmod(0o755)
    env = {**os.environ, "PATH": f"{senseless.parent}:{os.environ['PATH']}"}
    assert run("train.py", cwd=tmp_path / "work", env=env)["environment"]["commit"] is None
