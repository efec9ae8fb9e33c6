"""What to write instead: code where a recipe covers the whole operation, else a sentence."""
