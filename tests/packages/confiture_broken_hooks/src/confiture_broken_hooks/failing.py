"""What a package does whose own dependency is missing."""

raise ImportError("libmigrate.so.3: cannot open shared object file")
