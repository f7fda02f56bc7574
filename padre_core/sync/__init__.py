"""Local-first: what travels between a local store and its remotes, and what becomes of what both sides changed.

Works on two opened backends, and knows neither services nor hooks: `Engine` is what they call.
"""

from padre_core.sync.changes import CursorFile
from padre_core.sync.conflicts import Conflicted, conflicted, decision, resolved
from padre_core.sync.engine import Deleted, Engine, Got
from padre_core.sync.pair import AWAY
from padre_core.sync.passes import Step
from padre_core.sync.plan import TABLE, Action
from padre_core.sync.purging import Purged, purge
from padre_core.sync.states import Local, Remote, State
from padre_core.sync.stores import RemoteStore, Report
from padre_core.sync.transfer import Progress, Tally

__all__ = [
    "AWAY",
    "TABLE",
    "Action",
    "Conflicted",
    "CursorFile",
    "Deleted",
    "Engine",
    "Got",
    "Local",
    "Progress",
    "Purged",
    "Remote",
    "RemoteStore",
    "Report",
    "State",
    "Step",
    "Tally",
    "conflicted",
    "decision",
    "purge",
    "resolved",
]
