// SPDX-License-Identifier: Apache-2.0
/*
 * What this node has seen of others, a file each, beside the record and longer than it: a record that is older than the
 * last one seen helps nobody, also after a restart, also when the newer one has ended or its node was revoked. A file
 * goes when no older record can be valid any more. There are as many as the edge's registry has places: who has none
 * there is not admitted.
 *
 * "quote 1790000000 1789990000123456 7 1792768400 DIGEST": what the node proved in a session, when, since when it is
 * known (microseconds), epoch and end of the memory, SHA-256 of the record. Earlier daemons wrote the first three.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "parent.h"

#define SUFFIX       ".record.proof"
#define LINE_MAX_LEN 256
#define AT_ONCE      512                        /* in one message */
#define KEPT_MAX_S   (2 * ID_RECORD_LIFE_MAX_S) /* a file that nobody has written since then is not needed */
#define SWEEP_EACH_S 86400

_Static_assert(AT_ONCE * sizeof(struct id_seen) <= IPC_MAX, "a message holds them");

void seen_path(const char *record, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s.proof", PATH_MAX - 8, record);
}

static bool level_parse(const char *text, enum id_fresh *level)
{
	for (unsigned i = 0; i < ID_FRESH_COUNT; i++) {
		if (strcmp(text, id_fresh_name(i)) != 0)
			continue;
		*level = i;
		return true;
	}
	return false;
}

static bool line_parse(const char *line, size_t len, struct seen *seen)
{
	char level[16], hex[2 * sizeof(seen->id.digest) + 1];
	unsigned long long since, epoch;
	int n, n_old = 0, n_new = 0;
	long long at, until;

	n = sscanf(line, "%15s %lld %llu%n %llu %lld %64s%n", level, &at, &since, &n_old, &epoch, &until, hex, &n_new);
	if (n < 3 || !level_parse(level, &seen->fresh))
		return false;
	seen->fresh_at = at;
	seen->since = since;
	if (n == 3)
		return len == (size_t)n_old + 1 && line[n_old] == '\n';
	seen->id.epoch = epoch;
	seen->id.until = until;
	return n == 6 && len == (size_t)n_new + 1 && line[n_new] == '\n' && epoch && epoch < ID_EPOCH_LOST &&
	       hex_parse(seen->id.digest, sizeof(seen->id.digest), hex);
}

int seen_read(const char *record, struct seen *seen, struct err *e)
{
	auto_free char *line = NULL;
	char path[PATH_MAX];
	size_t len;
	int ret;

	*seen = (struct seen){ 0 };
	seen_path(record, path);
	ret = file_read(path, LINE_MAX_LEN, &line, &len, e);
	if (!ret && !line_parse(line, len, seen))
		ret = err_at(e, -EBADMSG, path, "is not what baileyd wrote");
	return ret;
}

int seen_write(const char *record, const struct node *n, struct err *e)
{
	char path[PATH_MAX], line[LINE_MAX_LEN], hex[2 * sizeof(n->id.digest) + 1];
	const struct id_record *r = &n->id.record;
	const struct id_claims *claims = &n->id.claims;

	seen_path(record, path);
	hex_print(hex, n->id.digest, sizeof(n->id.digest));
	snprintf(line, sizeof(line), "%s %lld %llu %llu %lld %s\n", id_fresh_name(claims->fresh),
		 (long long)claims->fresh_at, (unsigned long long)n->since, (unsigned long long)r->epoch,
		 (long long)id_record_seen_until(r), hex);
	return file_write(path, line, strlen(line), 0600, e);
}

/* --- all of them ---------------------------------------------------------------------------------------------- */

struct walk {
	struct parent *p;
	int64_t now;
	struct id_seen seen[AT_ONCE]; /* not sent yet */
	size_t n;
};

typedef void (*walk_fn)(struct walk *w, const char *record, const uint8_t instance_id[BY_INSTANCE_ID_LEN]);

#define HEX (2 * BY_INSTANCE_ID_LEN)

static bool name_parse(const char *name, char hex[HEX + 1], uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	if (strnlen(name, HEX) < HEX || strcmp(name + HEX, SUFFIX) != 0)
		return false;
	memcpy(hex, name, HEX);
	hex[HEX] = '\0';
	return hex_parse(instance_id, BY_INSTANCE_ID_LEN, hex);
}

static int walk(struct walk *w, walk_fn fn, struct err *e)
{
	char dir[PATH_MAX], record[PATH_MAX], hex[HEX + 1];
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	struct dirent *entry;
	DIR *names;
	int ret;

	snprintf(dir, sizeof(dir), "%.*s/records", PATH_MAX - 16, w->p->conf.state);
	names = opendir(dir);
	if (!names)
		return err_at(e, -errno, dir, "%s", strerror(errno));
	while (errno = 0, (entry = readdir(names))) {
		if (!name_parse(entry->d_name, hex, instance_id))
			continue;
		snprintf(record, sizeof(record), "%.*s/%s.record", PATH_MAX - 64, dir, hex);
		fn(w, record, instance_id);
	}
	ret = errno ? err_at(e, -errno, dir, "%s", strerror(errno)) : 0;
	closedir(names);
	return ret;
}

static void flush(struct walk *w)
{
	if (w->n)
		ipc_send(w->p->edge.ipc, MSG_EDGE_REMEMBER, w->seen, w->n * sizeof(w->seen[0]), -1);
	w->n = 0;
}

static int64_t kept_until(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? INT64_MAX : st.st_mtime + KEPT_MAX_S;
}

static void lost(const char *path, struct id_seen *seen, const struct err *why)
{
	char text[600], at[32];
	struct tm tm;
	time_t until;

	*seen = (struct id_seen){ .epoch = ID_EPOCH_LOST, .until = kept_until(path) };
	until = (time_t)seen->until;
	if (seen->until == INT64_MAX || !gmtime_r(&until, &tm) || !strftime(at, sizeof(at), "%FT%TZ", &tm))
		snprintf(at, sizeof(at), "the file is removed");
	log_err("%s: no record of this instance is taken until %s: any could be an older one. Remove the file to take "
		"the next one that verifies",
		err_text(why, text, sizeof(text)), at);
}

static void send_one(struct walk *w, const char *record, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	struct seen seen;
	int ret = seen_read(record, &seen, &e);

	seen_path(record, path);
	if (ret == -ENOENT)
		return;
	if (ret < 0)
		lost(path, &seen.id, &e);
	if (!seen.id.epoch)
		return;
	if (seen.id.until < w->now) {
		unlink(path);
		return;
	}
	memcpy(seen.id.instance_id, instance_id, BY_INSTANCE_ID_LEN);
	w->seen[w->n++] = seen.id;
	if (w->n == AT_ONCE)
		flush(w);
}

int seen_send(struct parent *p, struct err *e)
{
	struct walk w = { .p = p, .now = time(NULL) };
	int ret = walk(&w, send_one, e);

	flush(&w);
	p->seen_swept_s = w.now;
	return ret;
}

static void sweep_one(struct walk *w, const char *record, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	char path[PATH_MAX];

	(void)instance_id;
	seen_path(record, path);
	if (kept_until(path) < w->now)
		unlink(path);
}

/* By the files' age, which is as good as what they say and asks less of the disk. */
void seen_tick(struct parent *p, int64_t now)
{
	struct walk w = { .p = p, .now = now };
	struct err e = ERR_INIT;

	if (p->seen_swept_s + SWEEP_EACH_S > now)
		return;
	p->seen_swept_s = now;
	if (walk(&w, sweep_one, &e) < 0)
		log_warn("%s: %s", e.where, e.msg);
}
