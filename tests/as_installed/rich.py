"""Found instead of rich by the processes that tests start (``tests/conftest.py``)."""

raise ModuleNotFoundError("rich is no package of paycall's", name="rich")
