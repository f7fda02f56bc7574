import sys

import pytest

import padre_core as padre
from padre_core import plugins
from padre_core.backends.backend import Backend
from padre_core.plugins import Policy, State

STORE = """
    from padre_core.backends.memory import MemoryStore

    class Store(MemoryStore):
        {body}
"""

EXTENSION = """
    import padre_core as padre

    seen = []

    class Extension:
        @padre.hookimpl
        def padre_object_changed(self, event):
            seen.append(event.action)
"""


def store(body="pass"):
    return STORE.format(body=body)


def state_of(name):
    return next(info for info in plugins.report() if info.distribution == name)


def test_core_and_the_file_plugin_are_found_by_their_entry_points():
    assert {"memory", "file"} <= set(plugins.schemes())
    assert {(info.name, info.state) for info in plugins.report()} >= {("memory", State.OK), ("file", State.OK)}


def test_a_plugin_is_imported_only_when_its_scheme_is_opened(install):
    install("padre-shelf", store(), backends=("shelf", "Store"))
    assert "shelf" in plugins.schemes()
    assert "padre_shelf" not in sys.modules
    with padre.open("shelf://") as workspace:
        workspace.projects.put(padre.Project(name="iris"))
    assert "padre_shelf" in sys.modules


def test_metadata_is_read_once(install, monkeypatch):
    plugins.schemes()
    monkeypatch.setattr("importlib_metadata.entry_points", None)
    plugins.schemes()


def test_a_broken_plugin_hurts_only_those_who_open_it(install):
    install("padre-broken", "import no_such_module", backends=("broken", "Store"))
    padre.open("memory://").close()
    with pytest.raises(padre.PluginLoadError, match=r"padre-broken 1\.0 cannot be imported") as caught:
        padre.open("broken://")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert state_of("padre-broken").state is State.BROKEN
    assert "no_such_module" in state_of("padre-broken").message


def test_a_plugin_that_is_no_storage_is_broken(install):
    install("padre-wrong", "Store = dict", backends=("wrong", "Store"))
    with pytest.raises(padre.PluginLoadError, match="no subclass of ByteStore or Backend"):
        padre.open("wrong://")


@pytest.mark.parametrize(("version", "side"), [(0, "padre-old"), (99, "padre-core")])
def test_a_plugin_of_another_version_says_which_side_to_upgrade(install, version, side):
    install("padre-old", store(f"api_version = {version}"), backends=("old", "Store"))
    with pytest.raises(padre.IncompatiblePluginError, match=f"upgrade {side}"):
        padre.open("old://")
    assert state_of("padre-old").state is State.INCOMPATIBLE


def test_two_plugins_for_one_scheme_are_a_conflict_that_provider_resolves(install):
    install("padre-one", store(), backends=("shared", "Store"))
    install("padre-two", store("two = True"), backends=("shared", "Store"))
    with pytest.raises(padre.PluginConflictError, match=r"padre-one and padre-two both claim 'shared'.*provider="):
        padre.open("shared://")
    assert plugins.backend_class("shared", provider="padre-two").two
    assert state_of("padre-one").state is state_of("padre-two").state is State.CONFLICT
    with pytest.raises(padre.PluginNotFoundError, match="does not serve shared://; padre-one, padre-two does"):
        padre.open("shared://", provider="padre-three")


def test_a_denied_plugin_is_not_used(install, monkeypatch):
    install("padre-one", store(), backends=("one", "Store"))
    with pytest.raises(padre.PluginNotFoundError, match="excludes"):
        padre.open("one://", deny_plugins=["Padre_One"])
    monkeypatch.setenv("PADRE_PLUGINS_DENY", "padre-one, other")
    with pytest.raises(padre.PluginNotFoundError, match="excludes"):
        padre.open("one://")
    assert state_of("padre-one").state is State.DENIED


def test_only_allowed_plugins_are_used(install, monkeypatch):
    install("padre-one", store(), backends=("one", "Store"))
    padre.open("one://", allow_plugins=["padre-one"]).close()
    with pytest.raises(padre.PluginNotFoundError):
        padre.open("one://", allow_plugins=[])
    monkeypatch.setenv("PADRE_PLUGINS_ALLOW", "padre-other")
    with pytest.raises(padre.PluginNotFoundError):
        padre.open("one://", allow_plugins=["padre-one"])
    padre.open("memory://").close()


def test_the_deny_list_is_stronger(install):
    policy = Policy.make(allow=["padre-one"], deny=["padre-one"])
    assert not policy.permits("padre-one")


def test_an_installed_extension_takes_part(install):
    install("padre-watch", EXTENSION, extensions=("watch", "Extension"))
    with padre.open("memory://") as workspace:
        workspace.projects.put(padre.Project(name="iris"))
    assert sys.modules["padre_watch"].seen == ["create"]
    assert state_of("padre-watch").state is State.OK


NO_EXTENSIONS = {
    "no import": "import no_such_module",
    "no object": "class Extension:\n    def __init__(self):\n        raise OSError",
    "no version": "class Extension:\n    api_version = 99",
}


@pytest.mark.parametrize("source", NO_EXTENSIONS.values(), ids=NO_EXTENSIONS)
def test_an_extension_that_cannot_be_used_is_logged_and_left_out(install, caplog, source):
    install("padre-watch", source, extensions=("watch", "Extension"))
    with padre.open("memory://") as workspace:
        workspace.projects.put(padre.Project(name="iris"))
    assert "watch of padre-watch is left out" in caplog.text
    assert state_of("padre-watch").state.faulty


def test_a_denied_extension_is_not_imported(install):
    install("padre-watch", EXTENSION, extensions=("watch", "Extension"))
    padre.open("memory://", deny_plugins=["padre-watch"]).close()
    assert "padre_watch" not in sys.modules


def test_commands_are_found_without_importing_them(install):
    install("padre-launch", "command = 'a click command'", commands=("launch", "command"))
    assert "launch" in plugins.commands()
    assert "padre_launch" not in sys.modules
    assert plugins.load_command("launch") == "a click command"
    with pytest.raises(padre.PluginNotFoundError, match="no installed plugin has the command 'fly'"):
        plugins.load_command("fly")


def test_two_commands_of_one_name_are_a_conflict(install):
    install("padre-one", "command = 1", commands=("launch", "command"))
    install("padre-two", "command = 2", commands=("launch", "command"))
    assert plugins.commands()["launch"] is None
    with pytest.raises(padre.PluginConflictError, match="uninstall one"):
        plugins.load_command("launch")


def test_a_backend_class_is_opened_without_a_byte_store(install):
    source = """
        from padre_core.backends.memory import MemoryStore
        from padre_core.backends.store import ByteStoreBackend

        class Database(ByteStoreBackend):
            def __init__(self, url, *, readonly, durability, **options):
                super().__init__(MemoryStore(url), readonly=readonly)
                self.given = durability, options
    """
    install("padre-db", source, backends=("db", "Database"))
    backend = plugins.open_backend("db://", durability="process", pool=3)
    assert isinstance(backend, Backend)
    assert backend.given == ("process", {"pool": 3})


def test_a_store_without_conditional_writes_is_read_only_unless_one_writer_says_so(install):
    body = "capabilities = __import__('padre_core.backends.capabilities', fromlist=['x']).Capabilities()"
    install("padre-weak", store(body), backends=("weak", "Store"))
    with pytest.raises(padre.PadreError, match="single_writer"):
        plugins.open_backend("weak://x")
    with padre.open("weak://x", single_writer=True) as workspace:
        assert workspace.projects.put(padre.Project(name="iris")).etag


@pytest.mark.parametrize(
    ("url", "distribution"),
    [("file:///data/lab", "padre-file"), ("git+https://lab/x", "padre-git"), ("s3://lab/x", r"padre-cloud\[s3\]")],
)
def test_a_plugin_of_ours_that_is_not_installed_is_named(url, distribution, monkeypatch):
    monkeypatch.setattr(plugins, "_discover", lambda: dict.fromkeys(plugins.GROUPS, ()))
    with pytest.raises(padre.PluginNotFoundError, match=f"pip install '?{distribution}"):
        padre.open(url)
