"""Real phones for tests: sipp, baresip, RTP by hand, captures by tshark, a panel and a vault to talk to.

Everything is on 127.0.0.0/8 and bounded in time; a phone is stopped by its own process id.
"""
