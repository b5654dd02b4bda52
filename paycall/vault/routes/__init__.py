"""The vault's two interfaces: ``cell`` stores, ``panel`` authorizes and looks up; neither has the other's routes."""
