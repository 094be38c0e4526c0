// SPDX-License-Identifier: Apache-2.0
/*
 * The fetch process: gets collateral by HTTP when the parent asks, one bundle at a time, and verifies it up to Intel's
 * root before it hands it on. It may block: nobody's handshake waits for it. It holds no secret and no capability.
 */
#include "role.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "box.h"
#include "proc.h"
#include "msg.h"
#include "pcs/pcs.h"

#define TIMEOUT_S 30

struct fetch {
	struct event_base *base;
	struct ipc *parent;
};

static int verify(const char *bundle, size_t len, struct err *e)
{
	struct id_collateral *c = NULL;
	int ret = id_collateral_load(bundle, len, NULL, &c, e);

	id_collateral_free(c);
	return ret;
}

static void on_ask(struct fetch *f, const struct msg_fetch *ask)
{
	struct pcs_request req = { .url = ask->url,
				   .root_crl = ask->root_crl[0] ? ask->root_crl : NULL,
				   .ca_file = ask->ca_file[0] ? ask->ca_file : NULL,
				   .is_processor_ca = ask->platform.is_processor_ca,
				   .timeout_s = TIMEOUT_S };
	struct msg_fetched m = { .platform = ask->platform };
	auto_free char *bundle = NULL;
	size_t len = 0;

	memcpy(req.fmspc, ask->platform.fmspc, PCS_FMSPC_LEN);
	m.code = pcs_fetch(&req, &bundle, &len, &m.err);
	if (!m.code)
		m.code = verify(bundle, len, &m.err);
	if (m.code)
		ipc_send(f->parent, MSG_FETCH_GOT, &m, sizeof(m), -1);
	else
		ipc_send_blob(f->parent, MSG_FETCH_GOT, &m, sizeof(m), bundle, len);
}

static void on_message(struct ipc_msg *msg, void *arg)
{
	const struct msg_fetch *ask = ipc_as(msg, sizeof(*ask));
	struct msg_fetch copy;

	if (msg->type != MSG_FETCH_ASK || !ask)
		return;
	copy = *ask;
	msg_terminate(copy.url);
	msg_terminate(copy.root_crl);
	msg_terminate(copy.ca_file);
	on_ask(arg, &copy);
}

int role_fetch(uid_t uid, gid_t gid)
{
	struct fetch f = { .base = event_base_new() };
	struct err e = ERR_INIT;
	int ret = f.base ? ipc_new(f.base, IPC_CHILD_FD, on_message, NULL, &f, &f.parent) : -ENOMEM;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	if (!ret)
		ret = box_asker(uid, gid, &e);
	ret = proc_serve(f.base, ret, &e);
	ipc_free(f.parent);
	if (f.base)
		event_base_free(f.base);
	return ret;
}
