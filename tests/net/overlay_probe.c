// SPDX-License-Identifier: Apache-2.0
/*
 * The overlay room by hand, for the namespace tests.
 *
 *	overlay_probe up NAME [backend=kernel|wireguard-go] key=FILE [port=N] [mtu=N] [addr=PREFIX]...
 *	                 [peer=KEY [endpoint=E] [keepalive=N] [allowed=PREFIX]...]... [again=N]
 *	overlay_probe read NAME | down NAME | open NAME [backend=...] | genkey | pubkey
 *
 * `up` prints the changes, one line an apply; again=N applies N times more, each when a line comes on standard input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/cmds.h"
#include "overlay/overlay.h"

struct wish {
	struct ov_device dev;
	enum ov_backend backend;
	int again;
};

static int bad(const char *arg)
{
	fprintf(stderr, "overlay_probe: not understood: %s\n", arg);
	return -1;
}

static bool key_parse(uint8_t key[OV_KEY_LEN], const char *text, size_t len)
{
	size_t n;

	while (len && text[len - 1] == '\n')
		len--;
	return base64_parse(key, OV_KEY_LEN, &n, text, len) && n == OV_KEY_LEN;
}

static int read_key(uint8_t key[OV_KEY_LEN], const char *path)
{
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	size_t len;

	if (file_read(path, 256, &text, &len, &e) < 0 || !key_parse(key, text, len))
		return bad(path);
	return 0;
}

static struct ov_peer *add_peer(struct ov_device *dev)
{
	struct ov_peer *peers = realloc(dev->peers, (dev->n_peers + 1) * sizeof(*peers));

	if (!peers)
		abort();
	dev->peers = peers;
	peers[dev->n_peers] = (struct ov_peer){ 0 };
	return &peers[dev->n_peers++];
}

static int peer_arg(struct ov_peer *peer, const char *name, const char *value)
{
	if (!strcmp(name, "endpoint"))
		return (peer->has_endpoint = endpoint_parse(&peer->endpoint, value)) ? 0 : bad(value);
	if (!strcmp(name, "keepalive")) {
		peer->has_keepalive = true;
		peer->keepalive_s = (uint16_t)atoi(value);
		return 0;
	}
	if (!strcmp(name, "allowed") && peer->n_allowed < OV_MAX_ALLOWED)
		return prefix_parse(&peer->allowed[peer->n_allowed++], value) ? 0 : bad(value);
	return bad(name);
}

static int device_arg(struct wish *w, const char *name, const char *value)
{
	if (!strcmp(name, "backend"))
		w->backend = !strcmp(value, "kernel") ? OV_KERNEL : OV_USERSPACE;
	else if (!strcmp(name, "key"))
		return read_key(w->dev.private_key, value);
	else if (!strcmp(name, "port"))
		w->dev.listen_port = (uint16_t)atoi(value);
	else if (!strcmp(name, "mtu"))
		w->dev.mtu = (uint32_t)atoi(value);
	else if (!strcmp(name, "again"))
		w->again = atoi(value);
	else if (!strcmp(name, "addr") && w->dev.n_addrs < ARRAY_LEN(w->dev.addrs))
		return prefix_parse(&w->dev.addrs[w->dev.n_addrs++], value) ? 0 : bad(value);
	else if (!strcmp(name, "peer"))
		return key_parse(add_peer(&w->dev)->public_key, value, strlen(value)) ? 0 : bad(value);
	else if (w->dev.n_peers)
		return peer_arg(&w->dev.peers[w->dev.n_peers - 1], name, value);
	else
		return bad(name);
	return 0;
}

static int wish_parse(struct wish *w, char **args)
{
	for (; *args; args++) {
		char *equals = strchr(*args, '=');

		if (!equals)
			return bad(*args);
		*equals = '\0';
		if (device_arg(w, *args, equals + 1) < 0)
			return -1;
	}
	return 0;
}

static int say(const struct err *e)
{
	char text[600];

	fprintf(stderr, "overlay_probe: %s\n", err_text(e, text, sizeof(text)));
	return 1;
}

static int up(struct ov *ov, struct wish *w)
{
	struct err e = ERR_INIT;
	struct ov_changes c;
	int rc;

	do {
		rc = ov_apply(ov, &w->dev, &c, &e);
		if (rc < 0)
			return say(&e);
		printf("added=%u changed=%u removed=%u addrs=%u routes=%u device=%d link=%d\n", c.peers_added,
		       c.peers_changed, c.peers_removed, c.addrs_changed, c.routes_changed, c.device_changed,
		       c.link_changed);
		fflush(stdout);
	} while (w->again-- > 0 && getchar() != EOF);
	return 0;
}

static void print_peer(const struct ov_peer *p)
{
	char key[BASE64_LEN(OV_KEY_LEN)], text[ENDPOINT_TEXT];

	base64_print(key, p->public_key, OV_KEY_LEN);
	printf("peer=%s", key);
	printf(" endpoint=%s", p->has_endpoint ? endpoint_print(&p->endpoint, text) : "(none)");
	for (uint32_t i = 0; i < p->n_allowed; i++)
		printf("%s%s", i ? "," : " allowed=", prefix_print(&p->allowed[i], text));
	printf(" keepalive=%u handshake=%lld rx=%llu tx=%llu\n", p->keepalive_s, (long long)p->last_handshake_s,
	       (unsigned long long)p->rx_bytes, (unsigned long long)p->tx_bytes);
}

static int print_device(struct ov *ov)
{
	uint8_t public_key[OV_KEY_LEN] = { 0 };
	char key[BASE64_LEN(OV_KEY_LEN)], text[PREFIX_TEXT];
	struct ov_device dev = { 0 };
	struct err e = ERR_INIT;

	if (ov_read(ov, &dev, &e) < 0)
		return say(&e);
	ov_key_public(dev.private_key, public_key);
	base64_print(key, public_key, OV_KEY_LEN);
	printf("public_key=%s\nlisten_port=%u\nmtu=%u\n", key, dev.listen_port, dev.mtu);
	for (uint32_t i = 0; i < dev.n_addrs; i++)
		printf("addr=%s\n", prefix_print(&dev.addrs[i], text));
	for (size_t i = 0; i < dev.n_peers; i++)
		print_peer(&dev.peers[i]);
	ov_device_fini(&dev);
	return 0;
}

static int run(const char *verb, const char *name, struct wish *w)
{
	struct err e = ERR_INIT;
	struct ov *ov;
	int rc = 0;

	if (!strcmp(verb, "down"))
		return ov_destroy(name, &e) < 0 ? say(&e) : 0;
	if (ov_open(name, w->backend, &ov, &e) < 0)
		return say(&e);
	if (!strcmp(verb, "up"))
		rc = up(ov, w);
	else if (!strcmp(verb, "read"))
		rc = print_device(ov);
	else
		printf("backend=%s ifindex=%u\n", ov_backend_name(ov_backend_of(ov)), ov_ifindex(ov));
	ov_close(ov);
	return rc;
}

int main(int argc, char **argv)
{
	struct wish w = { 0 };
	int rc;

	if (argc == 2 && !strcmp(argv[1], "genkey"))
		return cmd_genkey(1, argv + 1);
	if (argc == 2 && !strcmp(argv[1], "pubkey"))
		return cmd_pubkey(1, argv + 1);
	if (argc < 3) {
		fprintf(stderr, "usage: overlay_probe up|open|read|down NAME [NAME=VALUE]...\n");
		return 2;
	}
	snprintf(w.dev.name, sizeof(w.dev.name), "%s", argv[2]);
	rc = wish_parse(&w, argv + 3) < 0 ? 2 : run(argv[1], argv[2], &w);
	ov_device_fini(&w.dev);
	return rc;
}
