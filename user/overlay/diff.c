// SPDX-License-Identifier: Apache-2.0
/* Desired minus actual: a sorted merge of both peer lists. Pure. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model.h"

/* Devices keep the clamped key (RFC 7748 5), so an unclamped wanted one is no difference. */
static bool private_key_equal(const uint8_t a[OV_KEY_LEN], const uint8_t b[OV_KEY_LEN])
{
	uint8_t x[OV_KEY_LEN], y[OV_KEY_LEN];
	bool equal;

	memcpy(x, a, OV_KEY_LEN);
	memcpy(y, b, OV_KEY_LEN);
	ov_key_clamp(x);
	ov_key_clamp(y);
	equal = !memcmp(x, y, OV_KEY_LEN);
	explicit_bzero(x, sizeof(x));
	explicit_bzero(y, sizeof(y));
	return equal && (b[31] & 64); /* a device without a key reads as zeros */
}

static int by_address(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct ip_prefix));
}

static bool allowed_equal(const struct ov_peer *have, const struct ov_peer *want)
{
	struct ip_prefix x[OV_MAX_ALLOWED], y[OV_MAX_ALLOWED];
	size_t size = want->n_allowed * sizeof(x[0]);

	if (have->has_more_allowed || have->n_allowed != want->n_allowed)
		return false;
	memcpy(x, have->allowed, size);
	memcpy(y, want->allowed, size);
	qsort(x, want->n_allowed, sizeof(x[0]), by_address);
	qsort(y, want->n_allowed, sizeof(y[0]), by_address);
	return !memcmp(x, y, size);
}

static bool endpoint_differs(const struct ov_peer *have, const struct ov_peer *want)
{
	return want->has_endpoint && (!have->has_endpoint || !addr_equal(&have->endpoint.addr, &want->endpoint.addr) ||
				      have->endpoint.port != want->endpoint.port);
}

static void add_remove(struct ov_diff *d, const struct ov_peer *have)
{
	memcpy(d->remove[d->n_remove++], have->public_key, OV_KEY_LEN);
}

static void add_new(struct ov_diff *d, const struct ov_peer *want)
{
	d->set[d->n_set] = *want;
	d->is_new[d->n_set] = true;
	d->replace_allowed[d->n_set++] = true;
}

static void add_changed(struct ov_diff *d, const struct ov_peer *have, const struct ov_peer *want)
{
	bool allowed = !allowed_equal(have, want);
	struct ov_peer set = *want;

	/* a preshared key is not in our model and no session of ours can live under it */
	if (have->has_preshared_key) {
		add_remove(d, have);
		add_new(d, want);
		return;
	}
	set.has_endpoint = endpoint_differs(have, want);
	set.has_keepalive = want->has_keepalive && want->keepalive_s != have->keepalive_s;
	if (!set.has_endpoint && !set.has_keepalive && !allowed)
		return;
	d->set[d->n_set] = set;
	d->replace_allowed[d->n_set++] = allowed;
}

static int by_key_at(const void *a, const void *b)
{
	const struct ov_peer *const *x = a, *const *y = b;

	return memcmp((*x)->public_key, (*y)->public_key, OV_KEY_LEN);
}

static int sorted(const struct ov_device *dev, const struct ov_peer ***list)
{
	auto_free const struct ov_peer **at = calloc(dev->n_peers + 1, sizeof(*at));

	if (!at)
		return -ENOMEM;
	for (size_t i = 0; i < dev->n_peers; i++)
		at[i] = &dev->peers[i];
	qsort(at, dev->n_peers, sizeof(*at), by_key_at);
	for (size_t i = 1; i < dev->n_peers; i++)
		if (!by_key_at(&at[i - 1], &at[i]))
			return -EINVAL;
	*list = take_ptr(at);
	return 0;
}

/* Both lists end in NULL. */
static void merge(struct ov_diff *d, const struct ov_peer **have, const struct ov_peer **want)
{
	while (*have || *want) {
		int order = !*have ? 1 : !*want ? -1 : by_key_at(have, want);

		if (order < 0)
			add_remove(d, *have++);
		else if (order > 0)
			add_new(d, *want++);
		else
			add_changed(d, *have++, *want++);
	}
}

int ov_diff(const struct ov_device *have, const struct ov_device *want, struct ov_diff *diff)
{
	__attribute__((cleanup(ov_diff_fini))) struct ov_diff d = { 0 };
	auto_free const struct ov_peer **has = NULL, **wants = NULL;
	int rc;

	rc = sorted(have, &has);
	if (!rc)
		rc = sorted(want, &wants);
	if (rc < 0)
		return rc;
	d.set = calloc(want->n_peers + 1, sizeof(*d.set));
	d.is_new = calloc(want->n_peers + 1, sizeof(*d.is_new));
	d.replace_allowed = calloc(want->n_peers + 1, sizeof(*d.replace_allowed));
	d.remove = calloc(have->n_peers + 1, sizeof(*d.remove));
	if (!d.set || !d.is_new || !d.replace_allowed || !d.remove)
		return -ENOMEM;
	d.set_private_key = !private_key_equal(want->private_key, have->private_key);
	d.set_listen_port = want->listen_port && want->listen_port != have->listen_port;
	merge(&d, has, wants);
	*diff = d;
	d = (struct ov_diff){ 0 };
	return 0;
}

void ov_diff_fini(struct ov_diff *diff)
{
	if (!diff)
		return;
	free(diff->set);
	free(diff->is_new);
	free(diff->replace_allowed);
	free(diff->remove);
	*diff = (struct ov_diff){ 0 };
}
