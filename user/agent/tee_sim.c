// SPDX-License-Identifier: Apache-2.0
/* No TEE at all: quotes of a simulation root. RTMR3 is that of an app that has booted. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "identity/eventlog.h"
#include "identity/sim.h"
#include "internal.h"

#define PEM_MAX     (64 * 1024)
#define SIM_LOG_MAX (64 * 1024) /* a certificate carries it */

struct sim {
	struct ag_tee tee;
	struct id_sim_root root;
	uint8_t rtmr3[ID_MR_LEN];
	char *event_log;
};

static int sim_quote(struct ag_tee *tee, const uint8_t report_data[ID_REPORT_DATA_LEN], uint8_t **quote, size_t *len,
		     char **event_log, struct err *e)
{
	struct sim *sim = (struct sim *)tee;
	auto_free char *log = strdup(sim->event_log);
	uint8_t body[ID_QUOTE_SIGNED_LEN];
	int ret;

	if (!log || !id_sim_quote_body(body, sim->rtmr3, report_data))
		return err_at(e, -ENOMEM, "simulated quote", "out of memory");
	ret = id_sim_quote_sign(&sim->root, body, quote, len, e);
	if (!ret)
		*event_log = take_ptr(log);
	return ret;
}

/* With one event more, and RTMR3 as it is then. The log that comes out must be one that verifiers read. */
static int sim_emit(struct ag_tee *tee, const char *event, const uint8_t *payload, size_t len, struct err *e)
{
	struct sim *sim = (struct sim *)tee;
	auto_json json_t *log = json_loads(sim->event_log, 0, NULL);
	auto_free char *text = NULL;
	uint8_t digest[ID_MR_LEN];
	struct id_log replayed;

	if (log && id_event_digest(1, in_of(event, strlen(event)), in_of(payload, len), digest))
		json_array_append_new(log, json_pack("{s:i, s:I, s:o, s:s, s:o}", "imr", 3, "event_type",
						     (json_int_t)ID_EVENT_RUNTIME, "digest",
						     json_hex(digest, sizeof(digest)), "event", event, "event_payload",
						     json_hex(payload, len)));
	text = log ? json_dumps(log, JSON_COMPACT) : NULL;
	if (!text)
		return err_at(e, -ENOMEM, "event", "out of memory");
	if (strlen(text) > SIM_LOG_MAX)
		return err_at(e, -ENOSPC, "event", "the log is full: it has %d bytes at most", SIM_LOG_MAX);
	if (id_eventlog_read(text, strlen(text), NULL, &replayed, e) < 0)
		return e->code;
	memcpy(sim->rtmr3, replayed.rtmr[3], ID_MR_LEN);
	free(sim->event_log);
	sim->event_log = take_ptr(text);
	return 0;
}

static void sim_close(struct ag_tee *tee)
{
	struct sim *sim = (struct sim *)tee;

	id_sim_root_fini(&sim->root);
	free(sim->event_log);
	free(sim);
}

static const struct ag_tee_ops sim_ops = { .name = "sim", .quote = sim_quote, .emit = sim_emit, .close = sim_close };

/* The root's certificate is all that a verifier needs; the keys are what this needs. */
static int root_read(const char *dir, struct id_sim_root *root, struct err *e)
{
	const struct {
		const char *name;
		char **text;
	} files[] = { { "root.key", &root->root_key },
		      { "pck.key", &root->pck_key },
		      { "pck.pem", &root->pck_cert },
		      { "pck-ca.pem", &root->intermediate_cert },
		      { "root.pem", &root->root_cert } };
	char path[PATH_MAX];
	size_t len;

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		if (snprintf(path, sizeof(path), "%s/%s", dir, files[i].name) >= (int)sizeof(path))
			return err_at(e, -ENAMETOOLONG, dir, "path is too long");
		if (file_read(path, PEM_MAX, files[i].text, &len, e) < 0)
			return e->code;
	}
	return 0;
}

int ag_tee_sim(const char *dir, const struct id_sim_request *identity, struct ag_tee **tee, struct err *e)
{
	struct sim *sim = calloc(1, sizeof(*sim));
	int ret;

	if (!sim)
		return err_at(e, -ENOMEM, dir, "out of memory");
	sim->tee.ops = &sim_ops;
	ret = root_read(dir, &sim->root, e);
	if (!ret) {
		sim->event_log = id_sim_eventlog(identity, sim->rtmr3);
		ret = sim->event_log ? 0 : err_at(e, -ENOMEM, dir, "out of memory");
	}
	if (ret < 0) {
		sim_close(&sim->tee);
		return ret;
	}
	*tee = &sim->tee;
	return 0;
}
