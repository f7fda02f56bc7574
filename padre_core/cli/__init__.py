"""The `padre` command."""

from padre_core.cli.app import main

__all__ = ["main"]
