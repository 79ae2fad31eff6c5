"""Tests of the tree over the log, of its proofs and checkpoints."""
