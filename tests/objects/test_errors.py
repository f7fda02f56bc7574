import inspect

from padre_core import errors

TREE = {
    "PadreError": ("Exception",),
    "NotFoundError": ("PadreError", "KeyError"),
    "ConflictError": ("PadreError",),
    "AlreadyExistsError": ("ConflictError",),
    "InvalidObjectError": ("PadreError", "ValueError"),
    "BackendError": ("PadreError", "OSError"),
    "UnavailableError": ("BackendError",),
    "CorruptObjectError": ("BackendError",),
    "AccessDeniedError": ("PadreError", "PermissionError"),
    "AuthenticationError": ("AccessDeniedError",),
    "ReadOnlyError": ("AccessDeniedError",),
    "UnsupportedError": ("PadreError", "NotImplementedError"),
    "PluginError": ("PadreError",),
    "PluginNotFoundError": ("PluginError",),
    "PluginLoadError": ("PluginError",),
    "PluginConflictError": ("PluginError",),
    "IncompatiblePluginError": ("PluginError",),
}


def test_the_tree_of_errors_is_a_promise():
    found = {
        name: tuple(base.__name__ for base in item.__bases__)
        for name, item in vars(errors).items()
        if inspect.isclass(item)
    }
    assert found == TREE


def test_a_message_reads_as_it_was_written():
    assert str(errors.NotFoundError("no such run")) == "no such run"
    assert str(errors.BackendError("disk full")) == "disk full"


def test_every_error_says_what_the_caller_does_about_it():
    assert all(vars(errors)[name].__doc__ for name in TREE)
