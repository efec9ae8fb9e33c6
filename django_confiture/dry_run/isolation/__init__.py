"""Everything besides the connection under test: aliases, connections, threads, other sessions."""
