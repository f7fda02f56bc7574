import json
from dataclasses import dataclass

import pytest

import padre_core as padre
from padre_core.cli import main


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs `padre` in a fresh folder, as a terminal's user would, but in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PADRE_CONFIG", str(tmp_path / "settings"))
    monkeypatch.delenv("PADRE_URL", raising=False)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["padre", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Result(ended.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def workspace(command):
    with padre.open("padre-store", durability="process") as workspace:
        yield workspace


@pytest.fixture
def runs(workspace, tmp_path):
    """Three runs of one experiment, with points, lines and a file."""
    (tmp_path / "model.txt").write_text("weights")
    runs = []
    for place, regularisation in enumerate((0.1, 1.0, 10.0)):
        with workspace.start_run("iris/svc", parameters={"C": regularisation}, name=f"run-{place}") as run:
            run.log_points("accuracy", [0.5, (7 + place) / 10])
            run.log("begin")
            run.log("done", "WARNING")
            run.log_artifact(tmp_path / "model.txt", "models/model.txt")
        runs.append(run.object)
    return runs
