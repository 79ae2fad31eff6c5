"""The API: resources by capability, and what they share. Only here is HTTP known."""
