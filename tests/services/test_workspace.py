import pickle
import subprocess
import sys

import pytest

import padre_core as padre
from padre_core.configuration import find_url
from padre_core.objects import kinds as registry


def test_a_workspace_works_without_a_block(url):
    workspace = padre.open(url)
    workspace.projects.put(padre.Project(name="iris"))
    workspace.close()
    workspace.close()


def test_who_asks_a_store_after_it_was_closed_leaves_nothing_open(tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))
    workspace = padre.open(tmp_path / "store")
    workspace.close()
    with pytest.raises(padre.BackendError, match="open it again"):
        workspace.backend.changes(None)
    assert not list((tmp_path / "cache").rglob("*.sqlite*"))


def test_a_store_is_there_again_when_it_is_opened_again(tmp_path):
    with padre.open(tmp_path / "store") as workspace:
        project = workspace.projects.put(padre.Project(name="iris"))
    with padre.open((tmp_path / "store").as_uri()) as workspace:
        assert workspace.projects.get("iris").etag == project.etag


def test_a_read_only_workspace_reads_and_refuses_writes(tmp_path):
    with padre.open(tmp_path / "store") as workspace:
        workspace.projects.put(padre.Project(name="iris"))
    with padre.open(tmp_path / "store", readonly=True) as workspace:
        assert workspace.projects.get("iris").name == "iris"
        for write in (
            lambda: workspace.projects.put(padre.Project(name="rose")),
            lambda: workspace.projects.delete("iris"),
            lambda: workspace.artifacts.upload("iris", b"x", path="x", owner_kind="project"),
        ):
            with pytest.raises(padre.ReadOnlyError):
                write()


def test_every_kind_has_a_service(workspace):
    for model in padre.kinds():
        service = workspace.service(model.kind)
        assert service is workspace.service(model.folder) is getattr(workspace, model.folder)
        assert list(service.list()) == []
    with pytest.raises(padre.InvalidObjectError, match="there are projects, "):
        workspace.service("wrong")
    with pytest.raises(AttributeError):
        workspace.wrong  # noqa: B018


def test_a_kind_of_a_plugin_has_a_service_and_hooks_of_its_own(monkeypatch):
    class Checkpoint(padre.PadreObject):
        kind = "checkpoint"
        folder = "checkpoints"
        parents = ("run",)
        parent_field = "run"
        run: str
        step: int = 0

        def key(self):
            return (self.step,)

    class Audit:
        seen = []

        @padre.hookimpl(wrapper=True)
        def padre_checkpoint_create(self, request):
            self.seen.append(request.ref.kind)
            return (yield)

    monkeypatch.setattr(registry, "_KINDS", dict(registry._KINDS))
    padre.register_kind(Checkpoint)
    with padre.open("memory://", extensions=[Audit()]) as workspace:
        experiment = workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
        code = workspace.codes.put(padre.Code(type="command"))
        execution = workspace.executions.put(padre.Execution(experiment=experiment, code=code))
        run = workspace.runs.put(padre.Run(execution=execution))
        stored = workspace.checkpoints.put(Checkpoint(run=run.id, step=3))
        assert workspace.service("checkpoint").get(stored.id).step == 3
        assert workspace.service("checkpoints").count("step == 3", within="iris") == 1
    assert Audit.seen == ["checkpoint"]


def test_the_store_is_found_by_environment_then_file_then_default(tmp_path, monkeypatch):
    inner = tmp_path / "project" / "src"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert find_url() == "./padre-store"
    (tmp_path / "project" / "padre.toml").write_text('url = "runs"\n')
    assert find_url() == str(tmp_path / "project" / "runs")
    (tmp_path / "project" / "padre.toml").write_text('url = "memory://lab"\n')
    assert find_url() == "memory://lab"
    monkeypatch.setenv("PADRE_URL", "memory://mine")
    assert find_url() == "memory://mine"


@pytest.mark.parametrize("text", ["url = 5", "other = 1", "url = ", "\x00"])
def test_a_malformed_configuration_is_refused(tmp_path, monkeypatch, text):
    (tmp_path / "padre.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(padre.InvalidObjectError, match=r"padre\.toml"):
        padre.open()


def test_without_an_actor_in_the_environment_the_login_name_writes(monkeypatch):
    monkeypatch.delenv("PADRE_USER")
    monkeypatch.setenv("LOGNAME", "grace")
    with padre.open("memory://") as workspace:
        assert workspace.projects.put(padre.Project(name="iris")).created_by == "grace"


@pytest.mark.parametrize("name", ["a\nb", "x" * 300])
def test_a_user_name_that_cannot_be_stored_is_refused(monkeypatch, name):
    monkeypatch.setenv("PADRE_USER", name)
    with pytest.raises(padre.InvalidObjectError, match="set PADRE_USER"):
        padre.open("memory://")


def test_all_that_is_exported_exists_and_is_listed():
    assert sorted(padre.__all__) == padre.__all__
    for name in padre.__all__:
        assert getattr(padre, name) is not None
        assert name in dir(padre)
    with pytest.raises(AttributeError, match="no attribute 'wrong'"):
        padre.wrong  # noqa: B018


def test_importing_padre_loads_nothing_heavy_and_no_plugin():
    heavy = "{'fsspec', 'numpy', 'pandas', 'click', 'rich', 'sqlite3', 'pluggy', 'importlib_metadata', 'padre_file'}"
    script = f"import sys, padre_core; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_name_that_is_slightly_wrong_is_suggested_by_python(workspace):
    with pytest.raises(AttributeError) as error:
        workspace.experiment  # noqa: B018  # that it is asked for is the test
    assert (error.value.name, error.value.obj) == ("experiment", workspace)
    with pytest.raises(AttributeError) as error:
        padre.experiment  # noqa: B018
    assert (error.value.name, error.value.obj) == ("experiment", padre)


def test_only_what_is_exported_is_offered():
    assert set(dir(padre)) == {*padre.__all__, "__version__"}


def test_services_say_what_they_are(workspace):
    assert repr(workspace.runs) == f"<RunService of the runs in {workspace.url}>"


def test_remotes_that_are_no_mapping_are_refused():
    with pytest.raises(padre.InvalidObjectError, match="remotes: expected a dict"):
        padre.open("memory://", remotes=["lab"])


def test_a_file_in_the_place_of_a_store_is_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(padre.InvalidObjectError, match="is a file: a store is a folder"):
        padre.open(tmp_path / "model.bin")


def test_a_script_that_only_stores_loads_nothing_that_it_does_not_use(tmp_path):
    unused = {"sqlite3", "subprocess", "tomlkit", "numpy", "fsspec", "asyncio", "ssl", "padre_core.query.model"}
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, padre_core as padre\n"
        "with padre.open('store') as workspace, workspace.start_run('iris/svc', parameters={'C': 1.0}) as run:\n"
        "    run.log_metric('loss', 0.5, step=0)\n"
        f"print(sorted({unused} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_workspace_says_how_another_process_gets_its_own(workspace):
    for thing in (workspace, workspace.projects, workspace.projects.list()):
        with pytest.raises(padre.UnsupportedError, match=r"padre\.open"):
            pickle.dumps(thing)
