import json
import os
import pty
import resource
import subprocess
import sys
from importlib.metadata import version

import pytest

from padre_core import Project
from padre_core.cli.app import _COMMANDS, cli

MAIN = "from padre_core.cli import main; main()"
PADRE = [sys.executable, "-c", f"import sys; sys.argv = ['padre', *sys.argv[1:]]; {MAIN}"]


def python(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)


def test_help_names_every_command(command):
    result = command("--help")
    assert result.code == 0
    for name, (_, text) in _COMMANDS.items():
        assert name in result.out
        assert text in result.out


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_has_help(command, name):
    result = command(name, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: padre {name}")


def test_version_is_the_distribution_s(command):
    assert version("padre-core") in command("--version").out


def test_help_imports_no_models_and_no_drawing():
    code = "import sys\nsys.argv = ['padre', '--help']\n" + MAIN.replace("main()", "\n")
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "print(sorted({'pydantic', 'rich', 'sqlite3', 'numpy', 'fsspec'} & sys.modules.keys()))"
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


def processor_seconds(*command):
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    subprocess.run(command, check=True, capture_output=True)
    return used() - before


def test_help_is_quick():
    bare = min(processor_seconds(sys.executable, "-c", "pass") for _ in range(3))
    code = f"import sys; sys.argv = ['padre', '--help']; {MAIN}"
    # Alone on a machine it takes less than 0.15 s more; processor time grows beside others too.
    assert min(processor_seconds(sys.executable, "-c", code) for _ in range(3)) - bare < 0.4


def test_an_unknown_command_is_a_usage_error(command):
    result = command("frobnicate")
    assert result.code == 2
    assert "there is no command 'frobnicate'" in result.err


def test_a_misspelt_command_is_answered_with_the_nearest(command):
    result = command("serach")
    assert result.code == 2
    assert "there is no command 'serach'; did you mean 'search'?" in result.err


def test_a_missing_argument_is_a_usage_error(command):
    assert command("show").code == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["search", "metrics.loss.last >"], 2),
        (["ls", "nonsense"], 2),
        (["show", "iris/nothing"], 3),
        (["show", "01a20924-3a93-71b1-ba74-74bf6b171fe7"], 3),
        (["ls", "--store", "nowhere"], 3),
        (["ls", "--store", "nonsense://place"], 8),
        (["ls", "--store", "~nobody-of-this-name/lab"], 2),
    ],
)
def test_errors_are_short_and_tell_by_their_code_what_to_do(command, runs, arguments, code):
    result = command(*arguments)
    assert result.code == code
    assert result.err.startswith("padre: ")
    assert "Traceback" not in result.err
    assert result.out == ""


def test_a_filter_s_error_points_at_the_place(command, runs):
    lines = command("search", "parameters.C ==").err.splitlines()
    assert lines[-1].index("^") == lines[-2].index("==") + 2


def test_a_reader_that_goes_away_is_no_error(command, runs):
    environment = os.environ | {"PADRE_URL": os.path.abspath("padre-store")}
    shell = [sys.executable, "-c", f"import sys; sys.argv = ['padre', 'hooks']; {MAIN}"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(shell, stdout=write, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("arguments", [["hooks"], ["hooks", "--json"], ["plugins"]])
def test_a_full_disk_under_the_output_is_told_in_one_line(arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PADRE, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (6, "padre: No space left on device\n")


def test_a_file_that_cannot_be_read_is_told_in_one_line(command, workspace, tmp_path):
    (tmp_path / "folder").mkdir()
    result = command("put", "folder")
    assert (result.code, result.err) == (6, "padre: folder: Is a directory\n")


@pytest.mark.parametrize("arguments", ["hooks", "plugins --json", "plugins"])
def test_closed_output_is_no_error(arguments):
    command = ["sh", "-c", f'exec "$@" {arguments} >&-', "sh", *PADRE]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_encoding_of_the_output_lacks_is_escaped(command, workspace, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    workspace.projects.put(Project(name="日本", title="😀"))
    assert "\\u65e5\\u672c" in python(*PADRE[1:], "ls", "projects").stdout
    (line,) = python(*PADRE[1:], "ls", "projects", "--json").stdout.splitlines()
    assert (json.loads(line)["name"], json.loads(line)["title"]) == ("日本", "😀")


def test_where_the_present_folder_is_gone_a_whole_path_is_needed(command, workspace, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    relative, whole = command("ls"), command("ls", "--store", tmp_path / "padre-store")
    monkeypatch.chdir(tmp_path)
    assert (relative.code, whole.code) == (2, 0)
    assert "give the whole path" in relative.err


def test_an_interrupt_is_told_in_one_line(command, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    result = command("ls")
    assert (result.code, result.err) == (130, "padre: interrupted\n")


PLUGIN = """
import click

@click.command()
@click.argument("name")
def greet(name):
    "Says hello."
    click.echo(f"hello {name}")
"""


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Makes an installed distribution with commands, in a folder of its own."""

    def install(name, module, text, **commands):
        folder = tmp_path / "site" / name
        information = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        information.mkdir(parents=True)
        (folder / f"{module}.py").write_text(text)
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        points = "".join(f"{command} = {value}\n" for command, value in commands.items())
        (information / "entry_points.txt").write_text(f"[padre.commands]\n{points}")
        path = os.pathsep.join([str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).rstrip(os.pathsep)
        monkeypatch.setenv("PYTHONPATH", path)

    return install


def padre(*arguments):
    return python("-c", f"import sys; sys.argv = ['padre', *sys.argv[1:]]; {MAIN}", *arguments)


def test_a_plugin_s_command_is_listed_and_runs(distribution):
    distribution("padre-greet", "greet_plugin", PLUGIN, greet="greet_plugin:greet")
    assert "From padre-greet." in padre("--help").stdout
    assert padre("greet", "Ada").stdout == "hello Ada\n"


def test_a_broken_plugin_s_command_hurts_nobody_else(distribution):
    distribution("padre-broken", "broken_plugin", "raise RuntimeError('no luck')", broken="broken_plugin:x")
    overview = padre("--help")
    assert overview.returncode == 0
    assert "From padre-broken." in overview.stdout
    called = padre("broken")
    assert called.returncode == 8
    assert "no luck" in called.stderr
    assert "Traceback" not in called.stderr
    diagnosis = padre("plugins")
    assert diagnosis.returncode == 1
    assert "BROKEN" in diagnosis.stdout


def test_what_is_no_command_is_a_broken_plugin(distribution):
    distribution("padre-odd", "odd_plugin", "odd = 3", odd="odd_plugin:odd")
    called = padre("odd")
    assert called.returncode == 8
    assert "not a click command" in called.stderr


def test_a_plugin_cannot_replace_core_s_commands(distribution):
    distribution("padre-greet", "greet_plugin", PLUGIN, plugins="greet_plugin:greet")
    assert "hello" not in padre("plugins").stdout


def test_two_plugins_with_one_command_are_a_conflict(distribution):
    distribution("padre-greet", "greet_plugin", PLUGIN, greet="greet_plugin:greet")
    distribution("padre-hello", "hello_plugin", PLUGIN, greet="hello_plugin:greet")
    assert "several distributions" in padre("--help").stdout
    called = padre("greet", "Ada")
    assert called.returncode == 8
    assert "padre-greet and padre-hello" in called.stderr


def test_a_terminal_gets_a_drawn_table_and_a_pipe_a_plain_one(command, runs):
    arguments = [sys.executable, "-c", f"import sys; sys.argv = ['padre', 'ls', 'runs']; {MAIN}"]
    plain = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    master, slave = pty.openpty()
    subprocess.run(arguments, stdout=slave, check=True, env=os.environ | {"TERM": "xterm", "COLUMNS": "200"})
    os.close(slave)
    drawn = os.read(master, 65536).decode()
    os.close(master)
    assert "\x1b" not in plain
    assert "\x1b[1m" in drawn
    assert "─" in drawn
    for run in runs:
        assert run.id in plain
        assert run.id in drawn


@pytest.mark.parametrize("columns", ["5", "40", "60"])
def test_a_narrow_terminal_cuts_no_id(command, runs, columns):
    arguments = [sys.executable, "-c", f"import sys; sys.argv = ['padre', 'ls', 'runs']; {MAIN}"]
    master, slave = pty.openpty()
    subprocess.run(arguments, stdout=slave, check=True, env=os.environ | {"TERM": "xterm", "COLUMNS": columns})
    os.close(slave)
    shown = os.read(master, 65536).decode()
    os.close(master)
    for run in runs:
        assert run.id in shown
