"""The contracts of storage, and what core makes of them: the open layout, the index, the memory store."""
