"""The panel's routes, a file a resource. Who may call them stands in ``access.ACCESS``."""
