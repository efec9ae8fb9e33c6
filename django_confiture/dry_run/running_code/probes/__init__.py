"""What a release does with one model: SELECT, INSERT, UPDATE and DELETE, as statements to try."""
