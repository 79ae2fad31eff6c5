"""The log over HTTP: its events, its checkpoints, and proofs about it."""
