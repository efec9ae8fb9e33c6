"""No models: the migrations of the cases are the subject, not what they lead to."""
