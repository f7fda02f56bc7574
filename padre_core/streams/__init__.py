"""Streams: what only grows. The writer's log, and how points and lines are encoded and folded."""
