"""What SQL says about its transaction: settings, timeouts, modes, what a COMMIT ends."""
