// SPDX-License-Identifier: Apache-2.0
/*
 * Quotes by configfs-tsm (Linux 6.7, Documentation/ABI/testing/configfs-tsm-report): make an entry, write 64 bytes to
 * inblob, read outblob. `generation` grows with every write, so that a reader sees whether the answer is to its own.
 */
#include "tee_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define TRIES         3
#define PROVIDER_TDX  "tdx_guest"
#define EVENT_LOG_MAX (4u << 20)

struct tsm {
	struct ag_tee tee;
	char entry[PATH_MAX - 32]; /* <configfs>/tsm/report/bailey-<pid> */
	char *event_log;           /* path, or NULL */
};

int tee_event_log(const char *path, char **event_log, struct err *e)
{
	auto_json json_t *log = NULL;
	auto_free char *text = NULL;
	size_t len;

	if (path && file_read(path, EVENT_LOG_MAX, &text, &len, e) < 0)
		return e->code;
	if (!path)
		text = strdup("[]");
	log = text ? json_loads(text, 0, NULL) : NULL;
	if (!json_is_array(log))
		return err_at(e, -EBADMSG, path ? path : "event log", "is no JSON array of events");
	*event_log = take_ptr(text);
	return 0;
}

static int attr_path(const struct tsm *tsm, const char *attr, char path[PATH_MAX], struct err *e)
{
	if (snprintf(path, PATH_MAX, "%s/%s", tsm->entry, attr) >= PATH_MAX)
		return err_at(e, -ENAMETOOLONG, tsm->entry, "path is too long");
	return 0;
}

static int attr_read(const struct tsm *tsm, const char *attr, size_t max, char **data, size_t *len, struct err *e)
{
	char path[PATH_MAX];
	int ret = attr_path(tsm, attr, path, e);

	return ret ? ret : file_read(path, max, data, len, e);
}

/* In one write: the attribute takes nothing else. */
static int inblob_write(const struct tsm *tsm, const uint8_t report_data[ID_REPORT_DATA_LEN], struct err *e)
{
	char path[PATH_MAX];
	auto_fd int fd = -1;
	int ret = attr_path(tsm, "inblob", path, e);

	if (ret < 0)
		return ret;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_at(e, -errno, path, "%s", strerror(errno));
	if (write(fd, report_data, ID_REPORT_DATA_LEN) != ID_REPORT_DATA_LEN)
		return err_at(e, errno ? -errno : -EIO, path, "%s", strerror(errno));
	return 0;
}

static int generation_read(const struct tsm *tsm, unsigned long long *generation, struct err *e)
{
	auto_free char *text = NULL;
	size_t len;
	int ret = attr_read(tsm, "generation", 64, &text, &len, e);

	if (!ret && sscanf(text, "%llu", generation) != 1)
		ret = err_at(e, -EBADMSG, tsm->entry, "generation is no number");
	return ret;
}

/* -EAGAIN: another process used the entry in between. */
static int quote_once(const struct tsm *tsm, const uint8_t report_data[ID_REPORT_DATA_LEN], char **quote, size_t *len,
		      struct err *e)
{
	unsigned long long before, after;
	auto_free char *made = NULL;

	if (generation_read(tsm, &before, e) < 0 || inblob_write(tsm, report_data, e) < 0 ||
	    attr_read(tsm, "outblob", AG_QUOTE_MAX, &made, len, e) < 0 || generation_read(tsm, &after, e) < 0)
		return e->code;
	if (after != before + 1)
		return err_at(e, -EAGAIN, tsm->entry, "is used by somebody else");
	*quote = take_ptr(made);
	return 0;
}

static int provider_check(const struct tsm *tsm, struct err *e)
{
	auto_free char *provider = NULL;
	size_t len;
	int ret = attr_read(tsm, "provider", 64, &provider, &len, e);

	if (ret < 0)
		return ret;
	provider[strcspn(provider, "\n")] = '\0';
	return strcmp(provider, PROVIDER_TDX) == 0
		       ? 0
		       : err_at(e, -EOPNOTSUPP, tsm->entry, "evidence is from %.32s, needed: " PROVIDER_TDX, provider);
}

static int tsm_quote(struct ag_tee *tee, const uint8_t report_data[ID_REPORT_DATA_LEN], uint8_t **quote, size_t *len,
		     char **event_log, struct err *e)
{
	struct tsm *tsm = (struct tsm *)tee;
	auto_free char *made = NULL;
	int ret = -EAGAIN;

	if (mkdir(tsm->entry, 0700) < 0 && errno != EEXIST)
		return err_at(e, -errno, tsm->entry, "%s", strerror(errno));
	for (int i = 0; i < TRIES && (ret == -EAGAIN || ret == -EWOULDBLOCK); i++) {
		*e = (struct err)ERR_INIT;
		ret = quote_once(tsm, report_data, &made, len, e);
	}
	if (!ret)
		ret = provider_check(tsm, e);
	rmdir(tsm->entry);
	if (!ret)
		ret = tee_event_log(tsm->event_log, event_log, e);
	if (!ret)
		*quote = (uint8_t *)take_ptr(made);
	return ret;
}

static void tsm_close(struct ag_tee *tee)
{
	struct tsm *tsm = (struct tsm *)tee;

	free(tsm->event_log);
	free(tsm);
}

static const struct ag_tee_ops tsm_ops = { .name = "tsm", .quote = tsm_quote, .close = tsm_close };

int ag_tee_tsm(const char *configfs, const char *event_log, struct ag_tee **tee, struct err *e)
{
	struct tsm *tsm = calloc(1, sizeof(*tsm));
	char reports[PATH_MAX];

	if (!tsm)
		return err_at(e, -ENOMEM, configfs, "out of memory");
	tsm->tee.ops = &tsm_ops;
	tsm->event_log = event_log ? strdup(event_log) : NULL;
	snprintf(reports, sizeof(reports), "%s/tsm/report", configfs);
	if (access(reports, W_OK) < 0) {
		tsm_close(&tsm->tee);
		return err_at(e, -errno, reports, "%s: this kernel offers no configfs-tsm here", strerror(errno));
	}
	snprintf(tsm->entry, sizeof(tsm->entry), "%.*s/bailey-%d", PATH_MAX - 64, reports, (int)getpid());
	*tee = &tsm->tee;
	return 0;
}
