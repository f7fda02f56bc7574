"""`python -m padre_core`: the `padre` command of this interpreter, wherever its scripts are."""

from padre_core.cli import main

main()
