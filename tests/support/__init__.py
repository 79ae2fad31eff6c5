"""What the tests share: engines, servers, histories, people."""
