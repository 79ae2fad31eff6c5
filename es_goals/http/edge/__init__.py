"""Around every request: bodies, ids, hosts, who is let in, how often, and what is logged."""
