/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * DROP(NAME, code, "what the operator reads"). Append only: codes are in pinned counters and in events, so a
 * retired reason keeps its line. 0 is no drop.
 */
DROP(NONE, 0, "passed")
DROP(SHORT, 1, "packet ends before its headers do")
DROP(NOT_IP, 2, "neither IPv4 nor IPv6")
DROP(IP_HEADER, 3, "malformed IP header")
DROP(EXT_HEADERS, 4, "IPv6 extension headers too many or unknown")
DROP(FRAGMENT, 5, "later IP fragment whose first one did not pass here before it: its ports are not known")
DROP(L4_HEADER, 6, "malformed TCP, UDP or ICMP header")
DROP(NO_IDENTITY, 7, "the peer's address belongs to no verified node record")
DROP(NOT_LOCAL, 8, "the local address is not one of this node's overlay addresses")
DROP(POLICY_DENY, 9, "no rule allows it")
DROP(NO_FLOW, 10, "TCP segment of no tracked flow")
DROP(NO_POLICY, 11, "no policy is loaded")
DROP(INTERNAL, 12, "datapath could not read its own maps")
DROP(FRAG_TINY, 13, "first IP fragment without the whole transport header")
DROP(FRAG_BOUNDS, 14, "IP fragment that is empty, cut unevenly or reaches beyond 65535 bytes")
DROP(FRAG_ORDER, 15, "IP fragment behind a gap: one before it was lost or comes later")
DROP(FRAG_OVERLAP, 16, "IP fragment overlaps another of its datagram")
DROP(RATE_LIMIT, 17, "over the rate of its rule")
DROP(MARTIAN, 18, "source, destination or hop limit that no packet of this network can have")
DROP(NOT_WIREGUARD, 19, "to WireGuard's port, and no WireGuard message")
DROP(HANDSHAKE_LIMIT, 20, "WireGuard handshake initiations over the limit of their source or of all")
DROP(SOURCE_LIMIT, 21, "new flows over the limit of their source")
DROP(SYN_COOKIE, 22, "SYN over the limit, answered with a cookie in the stack's place")
