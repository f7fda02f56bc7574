"""Local-first: what travels between a local store and its remotes, and what becomes of what both sides changed."""
