"""The Merkle tree over the log: derived, kept in tiles, signed, and handed out as proofs."""
