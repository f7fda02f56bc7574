"""Runs the snippets of one document in order in the present folder, and reports what each printed as JSON."""

import contextlib
import io
import json
import subprocess
import sys
import traceback
from pathlib import Path


def run_python(code: str, namespace: dict[str, object], document: str, line: int) -> str:
    output = io.StringIO()
    # Line feeds in front, so that a traceback shows the document's lines.
    compiled = compile("\n" * line + code, document, "exec")
    with contextlib.redirect_stdout(output):
        exec(compiled, namespace)
    return output.getvalue()


def run_console(code: str) -> str:
    commands = "\n".join(line.removeprefix("$ ") for line in code.splitlines() if line.startswith("$ "))
    done = subprocess.run(
        ["sh", "-e", "-c", commands], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}:\n{done.stdout}")
    return done.stdout


def main() -> None:
    document, snippets = sys.argv[1], json.loads(sys.stdin.read())
    namespace: dict[str, object] = {"__name__": "__main__"}
    outputs = []
    for snippet in snippets:
        try:
            if snippet["language"] == "python":
                outputs.append(run_python(snippet["code"], namespace, document, snippet["line"]))
            else:
                outputs.append(run_console(snippet["code"]))
        except Exception:
            outputs.append(None)
            traceback.print_exc()
            break
    Path("report.json").write_text(json.dumps(outputs))


if __name__ == "__main__":
    main()
