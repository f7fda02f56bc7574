"""Store machine-learning experiments anywhere."""

__version__ = "0.1.0"
