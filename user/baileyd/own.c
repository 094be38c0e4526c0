// SPDX-License-Identifier: Apache-2.0
/* The node's own certificate and keys, from files. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "parent.h"

#define PEM_MAX (1 << 20)

static int read_pem(const char *path, char **text, struct err *e)
{
	size_t len;

	return file_read(path, PEM_MAX, text, &len, e);
}

int own_identity(struct parent *p, struct err *e)
{
	int ret = p->conf.agent[0] ? 0 : read_pem(p->conf.certificate, &p->cert_pem, e);

	if (!ret && !p->conf.agent[0])
		ret = read_pem(p->conf.key, &p->key_pem, e);
	if (!ret && p->conf.simulated_roots[0])
		ret = read_pem(p->conf.simulated_roots, &p->roots_pem, e);
	return ret;
}

int own_wg_read(const char *path, uint8_t key[OV_KEY_LEN], struct err *e)
{
	auto_free char *text = NULL;
	size_t len, n;
	bool good;

	if (file_read(path, 128, &text, &len, e) < 0)
		return e->code;
	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	good = base64_parse(key, OV_KEY_LEN, &n, text, len) && n == OV_KEY_LEN;
	explicit_bzero(text, len);
	if (!good)
		return err_at(e, -EINVAL, path, "needs a WireGuard private key: 44 characters of base64");
	return 0;
}

int own_wg_key(struct parent *p, struct err *e)
{
	const char *path = p->conf.wg_key;

	if (access(path, F_OK) < 0 && errno == ENOENT) {
		if (ov_key_generate(p->wg_private) < 0)
			return err_at(e, -EIO, path, "no randomness for a key");
		log_info("%s: made a new WireGuard key", path);
		return ov_key_write(path, p->wg_private, e);
	}
	return own_wg_read(path, p->wg_private, e);
}
