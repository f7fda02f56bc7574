import padre_core as padre
from padre_core import hookspecs


def test_every_kind_has_five_hooks_with_a_text_of_its_own():
    infos = {info.name: info for info in hookspecs.describe()}
    for model in padre.kinds():
        for action in hookspecs.Action:
            info = infos[f"padre_{model.kind}_{action}"]
            assert model.kind in info.text or model.folder in info.text
            assert info.signature.startswith("(request: Request) -> ")


def test_every_hook_is_described():
    infos = list(hookspecs.describe())
    assert len(infos) == 5 * len(padre.kinds()) + 2 + 5
    assert all(info.text and "{" not in info.text for info in infos)


def test_only_writes_are_writes():
    assert [action for action in hookspecs.Action if action.writes] == ["create", "update", "delete"]
