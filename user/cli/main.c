// SPDX-License-Identifier: Apache-2.0
/* bailey: one table drives dispatch and help. Exit status: 0 allowed or ok, 1 denied or refused, 2 usage. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmds.h"

enum needs { OFFLINE, DAEMON };

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	enum needs needs;
	const char *help;
} commands[] = {
	{ "up", cmd_up, DAEMON, "from nothing to a node of a network: configuration, daemon, joined" },
	{ "status", cmd_status, DAEMON, "what this node is, whom it knows, what was dropped (the default)" },
	{ "peers", cmd_peers, DAEMON, "the nodes that this one has verified" },
	{ "ping", cmd_ping, DAEMON, "whether a node answers: path, round trip, longest packet" },
	{ "doctor", cmd_doctor, DAEMON, "what on this machine is missing or in the way" },
	{ "monitor", cmd_monitor, DAEMON, "live events, one a line" },
	{ "drops", cmd_drops, DAEMON, "recent drops: why, who, which rule" },
	{ "flows", cmd_flows, DAEMON, "tracked flows: who, state, age, which rule" },
	{ "top", cmd_top, DAEMON, "what moves now: rates by peer, rule and drop reason" },
	{ "capture", cmd_capture, DAEMON, "dropped packets into a pcapng file" },
	{ "workload", cmd_workload, DAEMON, "machines behind this host: list, add, remove" },
	{ "reload", cmd_reload, DAEMON, "read the policy, the workloads and the records directory again" },
	{ "key", cmd_key, DAEMON, "rotate: a new WireGuard key for this node, now" },
	{ "node", cmd_node, DAEMON,
	  "members of a network: list, show, approve, revoke; without bailey-vpc add, remove" },
	{ "authkey", cmd_authkey, DAEMON, "pre-auth keys of a network: create, list, revoke" },
	{ "metrics", cmd_metrics, DAEMON, "counters in Prometheus text format" },
	{ "mesh", cmd_mesh, DAEMON, "a running bailey-mesh: status, flows, metrics, reload, drain" },
	{ "policy", cmd_policy, OFFLINE, "check, explain, test, compare or compile policy files" },
	{ "quote", cmd_quote, OFFLINE, "show a TDX quote, or judge it with collateral" },
	{ "collateral", cmd_collateral, OFFLINE, "fetch and show what Intel says of platforms" },
	{ "cert", cmd_cert, OFFLINE, "show what an RA-TLS certificate carries and proves" },
	{ "eventlog", cmd_eventlog, OFFLINE, "replay an event log and compare it with a quote" },
	{ "record", cmd_record, OFFLINE, "show, verify or sign attested node records" },
	{ "dev-identity", cmd_dev_identity, OFFLINE, "SIMULATED evidence for development" },
	{ "genkey", cmd_genkey, OFFLINE, "a new WireGuard private key" },
	{ "pubkey", cmd_pubkey, OFFLINE, "the public key of a private key on standard input" },
	{ "import", cmd_import, OFFLINE, "a configuration for baileyd from wg-quick's" },
	{ "tunnel", cmd_tunnel, OFFLINE, "WireGuard's datagrams in TCP, where UDP does not get through" },
};

static void usage(FILE *to)
{
	fputs("usage: bailey [COMMAND] [ARGUMENT...]\n\n", to);
	for (int needs = DAEMON; needs >= OFFLINE; needs--) {
		fputs(needs == DAEMON ? "Of a running baileyd (as root; --instance NAME where several run):\n"
				      : "\nOffline, unprivileged:\n",
		      to);
		for (size_t i = 0; i < ARRAY_LEN(commands); i++)
			if ((int)commands[i].needs == needs)
				fprintf(to, "  %-13s %s\n", commands[i].name, commands[i].help);
	}
	fputs("\n`bailey COMMAND --help` says more. Exit status: 0 allowed or ok, 1 denied or refused, 2 usage.\n", to);
}

int main(int argc, char **argv)
{
	char *status_argv[] = { (char *)"status", NULL };

	if (argc < 2)
		return cmd_status(1, status_argv);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return EXIT_YES;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, argv[1]) == 0)
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "bailey: no command '%s'\n\n", argv[1]);
	usage(stderr);
	return EXIT_USAGE;
}
