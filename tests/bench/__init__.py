"""The benchmark: our service, its peers and the machine's limits, side by side in one run."""
