"""Local-first on two machines, played by two folders, and a server that is away at first.

Needs no training: it works on an experiment of its own, in folders beside `padre-store`.
"""

import sys
from pathlib import Path

import padre_core as padre

sys.path.insert(0, str(Path(__file__).parent))  # where Python is told not to look beside a script
from team import serving, signed_in

NAME = "travel/notes"


def main() -> None:
    """Works offline, comes online, meets a conflict, decides it, deletes and restores."""
    with serving() as address:
        port = address.rpartition(":")[2]
    with machine("laptop", address) as laptop:
        laptop.experiments.put(padre.Experiment(name="notes", project="travel", description="begun on a train"))
        with laptop.start_run(NAME) as run:
            run.log_points("loss", [0.9, 0.5, 0.3])
        print("offline:", "stale" if laptop.experiments.get(NAME).stale else "fresh", "but all of it is here")

    with serving(port) as address, signed_in(address):
        laptop, desktop = machine("laptop", address), machine("desktop", address)
        with laptop, desktop:
            laptop.experiments.put(NAME, remote="lab")
            print("online: the desktop gets", desktop.runs.count(within=desktop.experiments.get(NAME)), "run")

            change(laptop, title="Notes")
            change(desktop, seed=7)
            meet(laptop, desktop)
            merged = laptop.experiments.get(NAME)
            print(f"merged: title {merged.title!r} from the laptop, seed {merged.seed} from the desktop")

            change(laptop, description="written on the laptop")
            change(desktop, description="written on the desktop")
            meet(laptop, desktop)
            (conflict,) = laptop.conflicts()
            ((other, fields),) = conflict.fields.items()
            print(f"both kept: {conflict.head} and {other} differ in {', '.join(fields)}")
            laptop.resolve(conflict.ref[1], keep=other)
            meet(laptop, desktop)
            print("decided:", desktop.experiments.get(NAME).description, "on both machines")

            laptop.experiments.delete(NAME)
            desktop.remotes.sync()
            print("deleted: the desktop has", desktop.experiments.count(within="travel"), "experiments")
            desktop.experiments.restore(NAME)
            meet(desktop, laptop)
            restored = laptop.runs.points(run.id, "loss")
            print("restored: the laptop has", len(restored), "points again")


def machine(name: str, address: str) -> padre.Workspace:
    """A workspace on the store of one machine, with the server as its remote."""
    return padre.open(f"padre-{name}", remotes={"lab": f"padre+{address}"})


def meet(one: padre.Workspace, other: padre.Workspace) -> None:
    """Lets two machines see what either did, by way of the server."""
    for workspace in (one, other, one):
        workspace.remotes.sync()


def change(workspace: padre.Workspace, **fields: object) -> None:
    """Changes fields of the experiment as it is here, as one does offline."""
    experiment = workspace.experiments.get(NAME, refresh="never")
    for field, value in fields.items():
        setattr(experiment, field, value)
    workspace.experiments.put(experiment)


if __name__ == "__main__":
    main()
