"""Stacks that start beside each other: each has its ports to itself, from before anything of it binds them."""

from __future__ import annotations

import pytest

from paycall.demo.stack import _take_ports

pytestmark = pytest.mark.network


def test_no_port_is_taken_twice() -> None:
    """Twenty rows of 40 out of 2,000 ports: by chance alone, some would overlap."""
    rows = [_take_ports(40) for _ in range(20)]
    try:
        ports = [first + offset for first, _ in rows for offset in range(40)]
        assert len(set(ports)) == len(ports)
    finally:
        for _, held in rows:
            for name in held:
                name.close()
