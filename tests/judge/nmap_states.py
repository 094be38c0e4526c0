#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What nmap saw, from its XML on standard input: a line PORT STATE for each port named. usage: nmap_states.py PORT..."""
import sys
import xml.etree.ElementTree as tree

host = tree.parse(sys.stdin).getroot().find("host")
if host is None:
    sys.exit("nmap_states.py: nmap found no host")
state = {p.get("portid"): p.find("state").get("state") for p in host.iter("port")}
rest = [e.get("state") for e in host.iter("extraports")]  # many of one state are not listed
for port in sys.argv[1:]:
    print(port, state.get(port) or (rest[0] if len(rest) == 1 else "unknown"))
