"""Media cells: the only importer of pjsua2."""
