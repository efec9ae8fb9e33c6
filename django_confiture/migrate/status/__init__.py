"""What other shells and the terminal show of a ``migrate`` that runs."""
