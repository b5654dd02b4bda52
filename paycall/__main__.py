"""``python -m paycall`` is the command line."""

from paycall.cli import main

raise SystemExit(main())
