"""An atomic and a non-atomic migration that do what ``tests.recording`` says."""
