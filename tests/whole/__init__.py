"""Tests of the whole: crashes, disks, nodes, documents, the architecture."""
