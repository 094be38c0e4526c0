// SPDX-License-Identifier: Apache-2.0
/* bailey tunnel: WireGuard's datagrams in TCP. Needs no privilege beyond that of its port. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cmds.h"
#include "overlay/tunnel.h"

static const char usage_text[] =
	"usage: bailey tunnel --listen udp:ADDRESS:PORT --to tcp:ADDRESS:PORT\n"
	"       bailey tunnel --listen tcp:ADDRESS:PORT --to udp:ADDRESS:PORT\n"
	"Carries datagrams in a TCP connection where UDP does not get through; runs until it is stopped.\n"
	"Nothing is encrypted or verified by it: what it carries is WireGuard's.\n";

struct side {
	bool is_udp;
	struct ip_endpoint at;
};

static bool side_parse(struct side *side, const char *option, const char *text)
{
	bool is_tcp = text && strncmp(text, "tcp:", 4) == 0;

	side->is_udp = text && strncmp(text, "udp:", 4) == 0;
	if ((is_tcp || side->is_udp) && endpoint_parse(&side->at, text + 4) && side->at.port)
		return true;
	fprintf(stderr, "bailey tunnel: %s: needs udp: or tcp: and an endpoint, like udp:127.0.0.1:51831, found '%s'\n",
		option, text ? text : "nothing");
	return false;
}

static int refuse(void)
{
	fputs(usage_text, stderr);
	return EXIT_USAGE;
}

int cmd_tunnel(int argc, char **argv)
{
	const char *listen = NULL, *to = NULL;
	struct side from, dest;
	struct err e = ERR_INIT;
	char text[600];
	int ret;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--listen") == 0 && i + 1 < argc && !listen)
			listen = argv[++i];
		else if (strcmp(argv[i], "--to") == 0 && i + 1 < argc && !to)
			to = argv[++i];
		else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return fputs(usage_text, stdout) < 0 ? EXIT_NO : EXIT_YES;
		else
			return refuse();
	if (!listen && !to)
		return refuse();
	if (!side_parse(&from, "--listen", listen) || !side_parse(&dest, "--to", to))
		return EXIT_USAGE;
	if (from.is_udp == dest.is_udp) {
		fprintf(stderr, "bailey tunnel: --listen and --to are both %s: one carries the other\n",
			from.is_udp ? "udp" : "tcp");
		return EXIT_USAGE;
	}
	log_init("bailey", LOG_INFO);
	ret = from.is_udp ? ov_tunnel_from_udp(&from.at, &dest.at, &e) : ov_tunnel_from_tcp(&from.at, &dest.at, &e);
	if (ret < 0)
		fprintf(stderr, "bailey tunnel: %s\n", err_text(&e, text, sizeof(text)));
	return ret < 0 ? EXIT_NO : EXIT_YES;
}
