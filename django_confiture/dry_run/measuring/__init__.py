"""What the server says about a statement: probes, effects, locks over time, schema."""
