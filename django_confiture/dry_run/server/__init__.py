"""Our sessions on the server: the driver's private names, patches, settings, identity."""
