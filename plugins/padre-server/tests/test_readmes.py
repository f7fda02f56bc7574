"""The READMEs of both plugins, from the first command on, with places and a port of the test's own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import padre_core as padre

from .serving import Client, wait_for

PLUGINS = Path(__file__).parents[2]
STORE, HOST, LOCAL = "file:///data/lab", "https://lab.example.org", "http://127.0.0.1:8421"
PASSWORD = "correct horse battery"  # of this test alone


def snippets(plugin: str, language: str) -> list[str]:
    text = (PLUGINS / plugin / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(plugin: str) -> list[list[str]]:
    return [shlex.split(line) for snippet in snippets(plugin, "console") for line in snippet.splitlines()]


class Reader:
    """Somebody who types what the READMEs print."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.environment = {
            **os.environ,
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            **{f"PADRE_{name}": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "STATE")},
        }

    def placed(self, text: str) -> str:
        text = text.replace(STORE, (self.folder / "lab").as_uri())
        return text.replace(f"padre+{HOST}", f"padre+{self.url}").replace(HOST, self.url).replace(LOCAL, self.url)

    def arguments(self, command: list[str]) -> list[str]:
        program, *arguments = map(self.placed, command)
        return [str(Path(sys.executable).with_name(program)), *arguments]

    def run(self, command: list[str], typed: str = "") -> str:
        done = subprocess.run(
            self.arguments(command), input=typed, capture_output=True, text=True, env=self.environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reader, str]]:
    """A reader who has started the server, and the token that it printed."""
    reader = Reader(tmp_path_factory.mktemp("reader"))
    (serve,) = [command for command in commands("padre-server") if command[:2] == ["padre", "serve"]]
    arguments = [*reader.arguments(serve), "--port", "0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=reader.environment) as process:
        assert process.stdout is not None
        reader.url = process.stdout.readline().removeprefix("listening on ").strip()
        token = process.stdout.readline().removeprefix("token ").strip()
        wait_for(lambda: Client(reader.url)("GET", "/readyz").status == 200)
        yield reader, token
        process.terminate()


def test_what_the_readmes_install_is_what_is_tested() -> None:
    for plugin in ("padre-server", "padre-http"):
        install, *_ = commands(plugin)
        assert install[:2] == ["pip", "install"]
        assert plugin in install
        assert all(version(name) for name in install[2:])


def test_the_readme_of_the_server_works_as_it_is_printed(reader: tuple[Reader, str]) -> None:
    person, _ = reader
    shown = [
        person.run(command, f"{PASSWORD}\n{PASSWORD}\n" if "user" in command else "")
        for command in commands("padre-server")
        if command[:2] == ["padre", "server"]
    ]
    assert "padre_" in shown[1]
    assert "cluster" in shown[2]


def test_the_readme_of_the_client_works_as_it_is_printed(
    reader: tuple[Reader, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    person, token = reader
    (login,) = [command for command in commands("padre-http") if command[:2] == ["padre", "login"]]
    assert "signed in" in person.run([*login, "--with-token"], token)
    monkeypatch.setenv("PADRE_STATE", person.environment["PADRE_STATE"])
    with (
        padre.open(f"padre+{person.url}", token=token) as workspace,
        workspace.start_run("iris/svc", parameters={"C": 1.0}) as run,
    ):
        run.log_metric("accuracy", 0.95)
    (code,) = snippets("padre-http", "python")
    assert person.run(["python", "-c", code]) == f"{run.id} {{'C': 1.0}}\n"
    assert person.url in person.run(["padre", "whoami", person.url])
    assert "iris" in person.run(["padre", "ls", "projects", "--store", f"padre+{HOST}"])


def test_the_login_that_the_readme_of_the_server_names_works(reader: tuple[Reader, str]) -> None:
    person, token = reader
    text = (PLUGINS / "padre-server" / "README.md").read_text()
    assert f"`padre login {LOCAL}`" in text
    assert f"`--store padre+{LOCAL}`" in text.replace("\n", " ")
    assert "signed in" in person.run(["padre", "login", LOCAL, "--with-token"], token)
    person.run(["padre", "ls", "projects", "--store", f"padre+{LOCAL}"])
